import { describe, expect, it } from "vitest";
import { createUnitMeter } from "../../bench/checkpoint/dynamo-units.ts";

const item = (sk: string, bytes: number): object => ({
  pk: { S: "thread" },
  sk: { S: sk },
  value: { B: Buffer.alloc(bytes).toString("base64") },
});

function meterOfOneTable() {
  const meter = createUnitMeter();
  const KeySchema = [{ AttributeName: "pk" }, { AttributeName: "sk" }];
  meter.units("CreateTable", { TableName: "t", KeySchema }, {});
  return meter;
}
const put = (sk: string, bytes: number) => ["PutItem", { TableName: "t", Item: item(sk, bytes) }, {}] as const;
const removal = (sk: string) =>
  ["DeleteItem", { TableName: "t", Key: { pk: { S: "thread" }, sk: { S: sk } } }, {}] as const;

describe("the units of DynamoDB requests", () => {
  it("weigh bytes, not their base64, and each KB that is begun", () => {
    const meter = meterOfOneTable();
    expect(meter.units(...put("a", 2000)).writeUnits).toBe(2);
    expect(meter.units(...put("b", 2100)).writeUnits).toBe(3);
    expect(meter.bytes()).toBe(4100 + 2 * ("pk".length + "thread".length + "sk".length + 1 + "value".length));
  });

  it("are those of the larger of what was there and what is, and a removal costs what it removes", () => {
    const meter = meterOfOneTable();
    meter.units(...put("a", 4000));
    expect(meter.units(...put("a", 10)).writeUnits).toBe(4);
    expect(meter.units(...put("a", 3000)).writeUnits).toBe(3);
    expect(meter.units(...removal("a")).writeUnits).toBe(3);
    expect(meter.units(...removal("a")).writeUnits).toBe(1);
    expect(meter.bytes()).toBe(0);
  });

  it("round up each item of a batch by itself", () => {
    const RequestItems = { t: [item("a", 10), item("b", 1500)].map((Item) => ({ PutRequest: { Item } })) };
    expect(meterOfOneTable().units("BatchWriteItem", { RequestItems }, {}).writeUnits).toBe(3);
  });

  it("are one for 4 KB of a strong read, and half of it for one that is not", () => {
    const meter = meterOfOneTable();
    const items = [item("a", 3000), item("b", 3000)];
    const query = (ConsistentRead: boolean): number =>
      meter.units("Query", { TableName: "t", ConsistentRead }, { Items: items }).readUnits;
    expect([query(true), query(false)]).toEqual([2, 1]);
    expect(meter.units("GetItem", { TableName: "t" }, {}).readUnits).toBe(0.5);
  });

  it("of a kind that is not metered are never taken for nothing", () => {
    expect(() => meterOfOneTable().units("TransactWriteItems", {}, {})).toThrow("not metered");
  });
});

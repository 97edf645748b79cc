import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT, startProcess } from "../../scripts/demo/process.ts";
import { testFolder } from "../support/process.ts";

interface Listing {
  readonly calls: number;
  readonly refunds: readonly {
    readonly order: string;
    readonly amount: number;
    readonly key: string;
    readonly calls: number;
  }[];
}

async function startLedger(...flags: readonly string[]) {
  const ledger = startProcess({ name: "the ledger", args: [join(PROJECT, "scripts/ledger.ts"), ...flags] });
  const url = await ledger.line((line) => /listening on (http:\S+)/.exec(line)?.[1]);
  const post = (body: unknown, key: string | undefined = "k1"): Promise<Response> =>
    fetch(`${url}/refunds`, {
      method: "POST",
      headers: key === "" ? {} : { "Idempotency-Key": key },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  const list = async (query = ""): Promise<Listing> =>
    (await (await fetch(`${url}/refunds${query}`)).json()) as Listing;
  return { ...ledger, url, post, list };
}

const REFUND = { order: "A-1001", amount: 120.5, currency: "EUR" };

it("pays once under a key, answers every repetition alike, and counts the calls", async () => {
  await using ledger = await startLedger();
  const first = await ledger.post(REFUND);
  expect(first.status).toBe(201);
  const paid: unknown = await first.json();
  expect(paid).toMatchObject({ ...REFUND, reference: "R-000001", key: "k1" });
  const again = await ledger.post(REFUND);
  expect([again.status, again.headers.get("idempotency-replayed")]).toEqual([200, "true"]);
  expect(await again.json()).toEqual({ ...(paid as object), calls: 2 });
  expect(await ledger.list()).toMatchObject({ calls: 2, refunds: [{ ...REFUND, calls: 2 }] });
});

it("pays at once and once, however many calls with one key come together", async () => {
  await using ledger = await startLedger();
  const answers = await Promise.all(Array.from({ length: 20 }, () => ledger.post(REFUND)));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(19);
  expect((await ledger.list()).refunds).toHaveLength(1);
});

it("without honouring keys it pays every call: the control that shows a double payment", async () => {
  await using ledger = await startLedger("--no-honour-keys");
  expect((await ledger.post(REFUND)).status).toBe(201);
  expect((await ledger.post(REFUND)).status).toBe(201);
  const { refunds, calls } = await ledger.list();
  expect([refunds.length, calls]).toEqual([2, 2]);
});

it("lists the refunds of one order", async () => {
  await using ledger = await startLedger();
  await ledger.post(REFUND, "k1");
  await ledger.post({ ...REFUND, order: "B-2002" }, "k2");
  expect((await ledger.list("?order=B-2002")).refunds.map(({ order }) => order)).toEqual(["B-2002"]);
  expect((await ledger.list()).refunds).toHaveLength(2);
  expect((await ledger.list("?order=nobody")).refunds).toEqual([]);
});

describe("refuses, and pays nothing for,", () => {
  it.each([
    ["a call without a key", REFUND, "", 400],
    ["what is not JSON", "{", "k1", 422],
    ["an amount of nothing", { ...REFUND, amount: 0 }, "k1", 422],
    ["a negative amount", { ...REFUND, amount: -1 }, "k1", 422],
    ["fractions of a cent", { ...REFUND, amount: 1.005 }, "k1", 422],
    ["another currency", { ...REFUND, currency: "USD" }, "k1", 422],
    ["unknown fields", { ...REFUND, to: "me" }, "k1", 422],
    ["a body that is too large", "x".repeat(200_000), "k1", 413],
  ])("%s", async (_name, body, key, status) => {
    await using ledger = await startLedger();
    const answer = await ledger.post(body, key);
    expect(answer.status).toBe(status);
    expect(((await answer.json()) as { error: string }).error).not.toBe("");
    expect((await ledger.list()).refunds).toEqual([]);
  });

  it("the same key for another refund", async () => {
    await using ledger = await startLedger();
    await ledger.post(REFUND);
    expect((await ledger.post({ ...REFUND, amount: 1 })).status).toBe(409);
    expect((await ledger.list()).refunds).toMatchObject([REFUND]);
  });
});

it("can lose a reply after it has paid, as networks do", async () => {
  await using ledger = await startLedger("--drop-replies", "1");
  await expect(ledger.post(REFUND)).rejects.toThrow("fetch failed");
  expect((await ledger.post(REFUND)).status).toBe(200);
  expect((await ledger.list()).refunds).toMatchObject([{ ...REFUND, calls: 2 }]);
});

it("remembers after it was killed, and ends cleanly when asked to", async () => {
  await using folder = await testFolder();
  const file = join(folder.path, "ledger.db");
  await using first = await startLedger("--file", file);
  await first.post(REFUND);
  await first.stop("SIGKILL");
  await using second = await startLedger("--file", file);
  expect((await second.post(REFUND)).status).toBe(200);
  expect((await second.list()).refunds).toHaveLength(1);
  expect(await second.stop("SIGTERM")).toEqual({ code: 0, signal: null });
});

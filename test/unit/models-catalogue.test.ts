import { expect, it } from "vitest";
import { parseCatalogue } from "../../src/models/catalogue.ts";
import { costOf } from "../../src/models/prices.ts";

const bedrock = { provider: "bedrock", model: "m", contextTokens: 1000, maxOutputTokens: 500 };
const parse = (value: object) => parseCatalogue(JSON.stringify(value));
const base = { targets: { a: bedrock, b: bedrock }, models: { chat: { targets: ["a", "b"] } } };

it("resolves names through other names, in their order, each target once", () => {
  const catalogue = parse({ ...base, models: { ...base.models, desk: { targets: ["b", "chat"] } } });
  expect(catalogue.targetsOf("desk", "acme")?.map(({ name }) => name)).toEqual(["b", "a"]);
  expect(catalogue.targetsOf("gone", "acme")).toBeUndefined();
});

it("gives a tenant its own targets, also where the name is reached through another one", () => {
  const chat = { targets: ["a"], tenants: { acme: ["b"] } };
  const catalogue = parse({ ...base, models: { chat, desk: { targets: ["chat"] } } });
  const names = (name: string, tenant: string) => catalogue.targetsOf(name, tenant)?.map((one) => one.name);
  expect([names("chat", "acme"), names("desk", "acme"), names("desk", "globex")]).toEqual([["b"], ["b"], ["a"]]);
  expect(names("desk", "constructor")).toEqual(["a"]);
});

it("follows each name once, however often names lead to it", () => {
  const names = Array.from({ length: 60 }, (_, at) => [`n${at}`, { targets: [`n${at + 1}`, `n${at + 1}`] }] as const);
  const catalogue = parse({ ...base, models: { ...Object.fromEntries(names), n60: { targets: ["b", "a"] } } });
  expect(catalogue.targetsOf("n0", "acme")?.map(({ name }) => name)).toEqual(["b", "a"]);
});

const price = { perMillion: { input: 3, output: 15 } };

it.each<[string, object, string]>([
  [
    "a cycle",
    { ...base, models: { x: { targets: ["y"] }, y: { targets: ["a", "x"] } } },
    "at models.y.targets[1]: a cycle: x → y → x",
  ],
  [
    "a name that stands for itself",
    { ...base, models: { x: { targets: ["x"] } } },
    "at models.x.targets[0]: a cycle: x → x",
  ],
  [
    "a cycle that only one tenant has",
    { ...base, models: { x: { targets: ["a"], tenants: { acme: ["x"] } } } },
    "at models.x.tenants.acme[0]: a cycle",
  ],
  [
    "an unknown target",
    { ...base, models: { x: { targets: ["a", "gone"] } } },
    "at models.x.targets[1]: there is no target and no model called gone",
  ],
  [
    "a price without a date",
    { ...base, targets: { a: { ...bedrock, prices: [price] } } },
    "at targets.a.prices[0].from: a price needs the day",
  ],
  [
    "a date that is none",
    { ...base, targets: { a: { ...bedrock, prices: [{ ...price, from: "2026-02-30" }] } } },
    "at targets.a.prices[0].from",
  ],
  [
    "two prices of one day",
    {
      ...base,
      targets: {
        a: { ...bedrock, prices: ["2026-01-01", "2026-02-01", "2026-01-01"].map((from) => ({ ...price, from })) },
      },
    },
    "at targets.a.prices[2].from: there is another price from 2026-01-01 on",
  ],
  [
    "an answer that fills the whole context",
    { ...base, targets: { a: { ...bedrock, maxOutputTokens: 1000 } } },
    "at targets.a.maxOutputTokens: 1000 leaves no room for a prompt in 1000 tokens",
  ],
  [
    "prices in two currencies",
    {
      ...base,
      targets: {
        a: { ...bedrock, prices: [{ ...price, from: "2026-01-01" }] },
        b: { ...bedrock, prices: [{ ...price, from: "2026-01-01", currency: "EUR" }] },
      },
    },
    "at targets.b.prices[0].currency: EUR, where other prices are in USD",
  ],
  ["no target at all", { ...base, models: { x: { targets: [] } } }, "at models.x.targets: at least one target"],
  [
    "a model with the name of a target",
    { ...base, models: { a: { targets: ["b"] } } },
    "at models.a: a target has this name as well",
  ],
  ["a word that it does not know", { ...base, targets: { a: { ...bedrock, regoin: "x" } } }, "at targets.a"],
  ["a provider that it does not know", { ...base, targets: { a: { provider: "x" } } }, "at targets.a.provider"],
])("refuses %s, with the place", (_what, catalogue, words) => {
  expect(() => parse(catalogue)).toThrow(words);
});

it("refuses what is not JSON", () => {
  expect(() => parseCatalogue("{")).toThrow("the model catalogue is not JSON");
});

const usual = { currency: "USD", perMillion: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 } };
const prices = [
  { ...usual, from: "2026-01-01" },
  { ...usual, from: "2026-07-01", perMillion: { input: 2, output: 10 } },
];
const tokens = { input: 1000, cacheRead: 10_000, cacheWrite: 2000, output: 500 };

it("prices each kind of tokens by itself, by the price of the day", () => {
  const at = (day: string) => costOf(tokens, prices, Date.parse(`${day}T12:00:00Z`));
  expect(at("2026-06-30")).toEqual({
    amount: expect.closeTo((1000 * 3 + 10_000 * 0.3 + 2000 * 3.75 + 500 * 15) / 1e6, 10) as unknown,
    currency: "USD",
    priceFrom: "2026-01-01",
  });
  // Without prices of its own, the cache costs what input costs.
  expect(at("2026-07-01")?.amount).toBeCloseTo((13_000 * 2 + 500 * 10) / 1e6, 10);
  expect(at("2025-12-31")).toBeUndefined();
});

import type { Price } from "./catalogue.ts";
import type { TokenCounts } from "./chat.ts";

/** What a call costs by the catalogue's prices. */
export interface Cost {
  /** In units of the currency, not rounded. */
  readonly amount: number;
  readonly currency: string;
  /** The day from which the price held that it was computed with; the last one, where several targets were asked. */
  readonly priceFrom: string;
}

/** US dollars; undefined in any other currency, for nothing here converts them. */
export const usdOf = (cost: Cost | undefined): number | undefined =>
  cost?.currency === "USD" ? cost.amount : undefined;

/** Tokens that a call has used at a target, where these prices hold. */
export interface Used {
  readonly tokens: TokenCounts;
  readonly prices: readonly Price[];
}

/** What a call has used over all of its attempts; undefined when none of them told it. */
export function sumOf(used: readonly Used[]): TokenCounts | undefined {
  if (used.length === 0) return undefined;
  const total = (of: keyof TokenCounts): number => used.reduce((sum, { tokens }) => sum + tokens[of], 0);
  return {
    input: total("input"),
    cacheRead: total("cacheRead"),
    cacheWrite: total("cacheWrite"),
    output: total("output"),
  };
}

/** Their cost at a time, each at the price of its own target; undefined where none of them has one. */
export function sumCost(used: readonly Used[], at: number): Cost | undefined {
  const costs = used.flatMap(({ tokens, prices }) => costOf(tokens, prices, at) ?? []);
  const last = costs.at(-1);
  return last && { ...last, amount: costs.reduce((sum, { amount }) => sum + amount, 0) };
}

const MILLION = 1_000_000;
const DAY = "YYYY-MM-DD".length;

/** The cost of these tokens at a time (milliseconds since the epoch); undefined where no price held yet. */
export function costOf(tokens: TokenCounts, prices: readonly Price[], at: number): Cost | undefined {
  const day = new Date(at).toISOString().slice(0, DAY);
  const [price] = prices.filter(({ from }) => from <= day).toSorted((a, b) => (a.from < b.from ? 1 : -1));
  if (price === undefined) return undefined;
  const { input, output, cacheRead = input, cacheWrite = input } = price.perMillion;
  const total =
    tokens.input * input + tokens.cacheRead * cacheRead + tokens.cacheWrite * cacheWrite + tokens.output * output;
  return { amount: total / MILLION, currency: price.currency, priceFrom: price.from };
}

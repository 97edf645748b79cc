import type { Price } from "./catalogue.ts";
import type { TokenCounts } from "./chat.ts";

/** What a call costs by the catalogue's prices. */
export interface Cost {
  /** In units of the currency, not rounded. */
  readonly amount: number;
  readonly currency: string;
  /** The day from which the price held that it was computed with. */
  readonly priceFrom: string;
}

/** US dollars; undefined in any other currency, for nothing here converts them. */
export const usdOf = (cost: Cost | undefined): number | undefined =>
  cost?.currency === "USD" ? cost.amount : undefined;

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

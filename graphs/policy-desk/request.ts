/**
 * What a customer's message asks of the desk, without a model: only a message that plainly tells the desk to refund is
 * taken for one, since a question about refunds must never become a payment.
 */

/** A refund as it is proposed, approved and paid. */
export interface Refund {
  /** A letter, a dash and four to ten digits. */
  readonly order: string;
  /** Euros, with at most two decimals. */
  readonly amount: number;
  readonly currency: "EUR";
  readonly reason: string | null;
}

/** A refund of which something is still missing. */
export interface Draft {
  readonly order: string | null;
  readonly amount: number | null;
  readonly reason: string | null;
}

export type Understood =
  | { readonly kind: "question" }
  | { readonly kind: "refund"; readonly refund: Refund }
  /** `missing` says what is to be asked for, each a phrase after "I need". */
  | { readonly kind: "incomplete"; readonly draft: Draft; readonly missing: readonly string[] }
  | { readonly kind: "dropped" };

/** The most that may be proposed at all; above it somebody mistyped. */
const MOST = 50_000;
const MOST_REASON = 300;

const ORDER = /\b([A-Z])-(\d{4,10})\b/gi;
const DROPPED = /^(no|never ?mind|forget (it|about it)|stop|cancel|drop it)\b[\s.!,]*(thanks?|thank you)?[\s.!]*$/i;

const OPENING =
  /^(?:(?:hi|hello|hey|dear [a-z ]{1,30}|good (?:morning|afternoon|evening)|please|kindly)\b[\s,.!:-]*)+/i;
const REFUND_VERB = "(?:refund|reimburse)";
/** "Refund order …", also after a greeting or in a later sentence; but not "refund policy". */
const ORDERED = new RegExp(
  `(?:^|[.!?;:\\n]\\s*|\\b(?:please|kindly|and|then)\\s+)${REFUND_VERB}\\b` +
    `(?=\\s*(?:order|me|us|him|her|them|it|this|the|my|our|a|customer|EUR|€|\\d|[A-Z]-\\d|$))`,
  "i",
);
const ORDERED_OF = new RegExp(`^${REFUND_VERB}\\b\\s+(?:for|of|on)\\b`, "i");
const ASKED_OF_US = new RegExp(
  `^(?:can|could|would|will) you (?:please |kindly )?(?:${REFUND_VERB}|pay (?:me |us )?back)\\b`,
  "i",
);
const ASKED_FOR =
  /^(?:can|could|may) (?:i|we) (?:please )?(?:get|have) (?:a |my |the )?(?:full |partial )?(?:refund|money back)\b/i;
const WISHED =
  /\b(?:want|wants|need|needs|would like|'d like|request|demand)\s+(?:to (?:get|have|be|request) )?(?:an? |my |the |our )?(?:full |partial )?(?:refund|refunded|reimbursement|money back)\b/i;
const TO_BE_MADE =
  /\b(?:issue|make|process|give|propose|arrange)(?: me| us| them| him| her)? (?:a |the |my )(?:full |partial )?(?:refund|reimbursement)\b/i;
const INTERROGATIVE =
  /^(?:who|whom|whose|what|when|where|why|which|how|is|are|was|were|am|do|does|did|has|have|had|can|could|may|might|must|shall|should|will|would|if)\b/i;

/** `draft` is what an earlier message left open. */
export function understand(message: string, draft: Draft | null = null): Understood {
  const text = message.normalize("NFKC").trim();
  const said = text.replace(OPENING, "");
  const orders = [...new Set(Array.from(text.matchAll(ORDER), (match) => match[0].toUpperCase()))];
  const sums = sumsIn(text.replace(ORDER, " "));
  if (draft !== null && DROPPED.test(said)) return { kind: "dropped" };
  const completes = draft !== null && !INTERROGATIVE.test(said) && (orders.length > 0 || sums.length > 0);
  if (!completes && !isRequest(said, orders.length + sums.length > 0)) return { kind: "question" };
  return assemble(completes ? draft : null, { orders, sums, reason: reasonIn(text) });
}

function isRequest(said: string, isSpecific: boolean): boolean {
  if (ASKED_OF_US.test(said)) return true;
  if (INTERROGATIVE.test(said)) return ASKED_FOR.test(said) && isSpecific;
  if (ORDERED.test(said) || WISHED.test(said) || TO_BE_MADE.test(said)) return true;
  return ORDERED_OF.test(said) && isSpecific;
}

interface Found {
  readonly orders: readonly string[];
  readonly sums: readonly Sum[];
  readonly reason: string | null;
}

function assemble(draft: Draft | null, { orders, sums, reason: given }: Found): Understood {
  const order = orderOf(orders, draft);
  const amount = amountOf(sums, draft);
  const reason = given ?? draft?.reason ?? null;
  if (order.known !== null && amount.known !== null) {
    return { kind: "refund", refund: { order: order.known, amount: amount.known, currency: "EUR", reason } };
  }
  const missing = [order, amount].flatMap(({ known, ask }) => (known === null ? [ask] : []));
  return { kind: "incomplete", draft: { order: order.known, amount: amount.known, reason }, missing };
}

/** One detail of a refund: known, or to be asked for. What was ambiguous is asked for again, not remembered. */
interface Detail<T> {
  readonly known: T | null;
  readonly ask: string;
}

function orderOf(orders: readonly string[], draft: Draft | null): Detail<string> {
  if (orders.length > 1) return { known: null, ask: `one order at a time; you named ${orders.join(" and ")}` };
  const ask = "the order number, which is a letter, a dash and at least four digits, such as A-1001";
  return { known: orders[0] ?? draft?.order ?? null, ask };
}

function amountOf(sums: readonly Sum[], draft: Draft | null): Detail<number> {
  const amounts = [...new Set(sums.map(({ amount }) => amount))];
  if (sums.some(({ isEuro }) => !isEuro))
    return { known: null, ask: "the amount in euros, since all refunds are made in euros" };
  if (amounts.length > 1) return { known: null, ask: `one amount; you named ${amounts.map(euros).join(" and ")}` };
  const amount = amounts[0] ?? draft?.amount ?? null;
  if (amount === null) return { known: null, ask: "the amount in euros, such as 49.90 EUR" };
  const isSane = amount > 0 && amount <= MOST;
  return { known: isSane ? amount : null, ask: `an amount above zero and up to ${euros(MOST)}` };
}

interface Sum {
  readonly amount: number;
  readonly isEuro: boolean;
}

const NUMBER = String.raw`(?<![\d.,-])(?:[1-9]\d{0,2}(?:[.,']\d{3})+(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)(?![.,]?\d)`;
const CURRENCY = String.raw`€|euros?\b|eur\b|us\$|\$|usd\b|dollars?\b|£|gbp\b|pounds?\b|chf\b|francs?\b`;
const SUM = new RegExp(`(?:(?<![a-z])(${CURRENCY})\\s*(${NUMBER}))|(?:(${NUMBER})(?:,-)?\\s*(${CURRENCY}))`, "gi");

/** Every sum of money that a text names. */
function sumsIn(text: string): readonly Sum[] {
  return Array.from(text.matchAll(SUM), (match) => {
    const [, before, second, third, after] = match;
    return { amount: numberOf(second ?? third ?? ""), isEuro: /^(€|eur)/i.test(before ?? after ?? "") };
  });
}

/** "1,234.50", "1.234,50" and "1234.5" alike: one or two digits after the last mark are decimals. */
function numberOf(text: string): number {
  const [, whole = "", decimals = ""] = /^(.*?)(?:[.,](\d{1,2}))?$/.exec(text) ?? [];
  return Number(`${whole.replace(/[.,']/g, "")}.${decimals || "0"}`);
}

function reasonIn(text: string): string | null {
  const found = /\b(?:because(?: of)?|reason:?|due to)\s+([\s\S]+)/i.exec(text)?.[1];
  const reason = found
    ?.replace(/\s+/g, " ")
    .replace(/[.!\s]+$/, "")
    .slice(0, MOST_REASON);
  return reason === undefined || reason === "" ? null : reason;
}

/** An amount as it is shown to people. */
export function euros(amount: number): string {
  return `EUR ${amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

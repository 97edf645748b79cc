import type { ModelReply, Passage } from "holdpoint/graph";
import type { Receipt } from "../../tools/issue-refund.ts";
import { euros } from "./request.ts";
import type { Refund } from "./request.ts";
import type { Approval, EarlierRefund } from "./state.ts";

/** The model's words, the places that they come from, and who said them. */
export function answerText({ text, citations, model }: ModelReply): string {
  const places = new Map(citations.map((citation) => [citation.number, citation]));
  const sources = Array.from(places.values(), (place) => `[${place.number}] ${placeOf(place)} (${place.documentId})`);
  return [text, ...(sources.length > 0 ? [`Sources:\n${sources.join("\n")}`] : []), `Answered by: ${model}`].join(
    "\n\n",
  );
}

const placeOf = ({ title, section }: Pick<Passage, "title" | "section">): string =>
  section === "" ? title : `${title} › ${section}`;

/** What is still needed before anything can be proposed. */
export function missingText(missing: readonly string[]): string {
  return `I can propose a refund, but I need ${missing.join("; and ")}.`;
}

export interface Proposal {
  readonly refund: Refund;
  readonly earlier: readonly EarlierRefund[];
  readonly limit: number;
  readonly asked: string;
  readonly passages: readonly Passage[];
}

/** What the reviewer reads, in Markdown. */
export function proposalText({ refund, earlier, limit, asked, passages }: Proposal): string {
  const places = [...new Set(passages.map(placeOf))].slice(0, 3);
  const paid = earlier.map(
    ({ reference, amount, paidAt }) => `- ${euros(amount)} on ${paidAt.slice(0, 10)} (${reference})`,
  );
  return [
    `Refund **${euros(refund.amount)}** on order **${refund.order}**. Together with earlier refunds on this order, that is ` +
      `above the limit of ${euros(limit)} up to which no approval is needed.`,
    `Reason: ${refund.reason ?? "none was given"}`,
    paid.length > 0
      ? `Already refunded on this order:\n${paid.join("\n")}`
      : "Nothing was refunded on this order before.",
    `The request:\n${quoted(asked)}`,
    ...(places.length > 0 ? [`Policies that are closest to the request: ${places.join("; ")}`] : []),
  ].join("\n\n");
}

/** A customer's words stay a quotation, whatever Markdown they contain. */
const quoted = (text: string): string => text.replace(/^/gm, "> ");

/** A payment, and whether and by whom it was approved or changed. */
export function paidText(receipt: Receipt, approval: Approval): string {
  const paid = `${euros(receipt.amount)} has been refunded on order ${receipt.order}. The reference is ${receipt.reference}.`;
  if (approval.type !== "approved" || approval.changedFrom === null) return paid;
  const why = approval.comment === null ? "" : `: ${sentence(approval.comment)}`;
  return `${paid} You asked for ${euros(approval.changedFrom)}; the person who approved the refund changed the amount${why || "."}`;
}

/** A person said no. */
export function rejectedText(refund: Refund, reason: string | null): string {
  const why = reason === null ? "No reason was given." : `The reason: ${sentence(reason)}`;
  return (
    `I am sorry: the refund of ${euros(refund.amount)} on order ${refund.order} was not approved. ${why} ` +
    `Nothing has been paid. If you do not agree, please ask for a person at the service desk.`
  );
}

/** The ledger said no, or there is none. */
export function notPaidText(refund: Refund, reason: string): string {
  return `The refund of ${euros(refund.amount)} on order ${refund.order} could not be paid: ${sentence(reason)} Nothing has been paid.`;
}

const sentence = (text: string): string => (/[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`);

import { Annotation, MessagesAnnotation } from "@langchain/langgraph";
import type { ModelReply, Passage } from "holdpoint/graph";
import type { Receipt } from "../../tools/issue-refund.ts";
import type { Draft, Refund } from "./request.ts";

/** What came of the refund that was proposed. */
export type Approval =
  | { readonly type: "not-needed" }
  | {
      readonly type: "approved";
      readonly by: string;
      readonly changedFrom: number | null;
      readonly comment: string | null;
    }
  | { readonly type: "rejected"; readonly by: string; readonly reason: string | null };

export type Outcome = "answered" | "abstained" | "needs-details" | "refunded" | "not-approved" | "not-paid" | "dropped";

/** A refund that the ledger has already paid on the order. */
export interface EarlierRefund {
  readonly reference: string;
  readonly amount: number;
  readonly paidAt: string;
}

/** What a caller may put in: a conversation, as chat front ends send it, or simply a question. */
export const Input = Annotation.Root({
  ...MessagesAnnotation.spec,
  question: Annotation<string | null>,
});

/** Everything but the messages and the open draft belongs to the turn and is set anew by its first node. */
export const State = Annotation.Root({
  ...Input.spec,
  /** The turn's text. */
  asked: Annotation<string>,
  passages: Annotation<readonly Passage[]>,
  /** A refund that an earlier turn left incomplete. */
  draft: Annotation<Draft | null>,
  refund: Annotation<Refund | null>,
  earlier: Annotation<readonly EarlierRefund[]>,
  approval: Annotation<Approval | null>,
  receipt: Annotation<Receipt | null>,
  citations: Annotation<ModelReply["citations"]>,
  answer: Annotation<string | null>,
  outcome: Annotation<Outcome | null>,
});
export type DeskState = typeof State.State;
export type DeskUpdate = typeof State.Update;

/** One turn of a conversation. */
export interface ModelMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** Half-open range of UTF-16 code units. */
export interface TextRange {
  readonly start: number;
  readonly end: number;
}

/** A passage that an answer may rest on. What retrieval returns is one. */
export interface GroundingPassage {
  readonly id: string;
  readonly documentId: string;
  readonly title: string;
  readonly section: string;
  readonly text: string;
  /** Where `text` stands in its document. */
  readonly offsets: TextRange;
}

export interface ModelRequest {
  /** The conversation so far; the last user turn is what is asked. */
  readonly messages: readonly ModelMessage[];
  /** What the answer has to rest on, best first. */
  readonly passages?: readonly GroundingPassage[];
  readonly signal?: AbortSignal;
}

/** `[number]` in an answer's text, and what it points to. */
export interface Citation {
  readonly number: number;
  readonly passageId: string;
  readonly documentId: string;
  readonly title: string;
  readonly section: string;
  /** The words that the answer rests on, exactly as the document has them. */
  readonly quote: string;
  /** Where the quote stands in its document. */
  readonly offsets: TextRange;
}

/** Of all attempts of a call, in their models' own tokens. */
export interface ModelUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** US dollars, where the price of the model is known. */
  readonly costUsd?: number;
}

export interface ModelReply {
  readonly text: string;
  /** In the order of their numbers; each was among the request's passages. */
  readonly citations: readonly Citation[];
  /** `abstained`: the passages do not answer the question, and the text says so. */
  readonly outcome: "answered" | "abstained";
  readonly usage: ModelUsage;
  /** What answered, for the record and for display. */
  readonly model: string;
  /** Whose it is, as OpenTelemetry's conventions name providers, such as `aws.bedrock`. */
  readonly provider?: string;
}

/** A streamed answer: pieces of its text, then the whole reply, which is the last thing that comes. */
export type ModelDelta =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reply"; readonly reply: ModelReply };

/** Something that answers. */
export interface Model {
  /** What it is, in words for people. */
  readonly description: string;
  /** @throws HoldpointError `invalid` without a user turn; the signal's reason when it aborts */
  complete(request: ModelRequest): Promise<ModelReply>;
  /** The same answer in pieces; a stream that ends without a `reply` was cut off and counts for nothing. */
  stream(request: ModelRequest): AsyncIterable<ModelDelta>;
}

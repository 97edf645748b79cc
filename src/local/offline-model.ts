import { HoldpointError } from "../core/errors.ts";
import { findEvidence } from "../models/evidence.ts";
import type { Citation, Model, ModelDelta, ModelReply, ModelRequest } from "../models/model.ts";
import { citationOf } from "../models/statements.ts";
import type { Statement } from "../models/statements.ts";

const NAME = "offline extractive model";

/**
 * The model for machines that reach no other: no language model at all, and it never pretends to be one. It answers
 * with sentences of the passages it is given, word for word and cited, or says that they do not answer. The same
 * request always has the same reply. Its tokens are words.
 */
export function createOfflineModel(): Model {
  const description = `${NAME}: it quotes the documents it is given, and writes nothing of its own`;
  return {
    description,
    complete: async (request) => reply(request),
    async *stream(request): AsyncGenerator<ModelDelta> {
      const whole = reply(request);
      for (const text of whole.text.match(/\S+\s*|\s+/g) ?? []) {
        request.signal?.throwIfAborted();
        yield { type: "text", text };
      }
      yield { type: "reply", reply: whole };
    },
  };
}

function reply({ messages, passages = [], signal }: ModelRequest): ModelReply {
  signal?.throwIfAborted();
  const question = messages.findLast(({ role }) => role === "user")?.content;
  if (question === undefined) throw new HoldpointError("invalid", "there is no user turn to answer");
  const evidence = findEvidence(question, passages);
  const { text, citations } = evidence === undefined ? abstention(passages.length) : quotation(evidence.statements);
  const heard = [...messages.map(({ content }) => content), ...passages.map((passage) => passage.text)];
  return {
    text,
    citations,
    outcome: evidence === undefined ? "abstained" : "answered",
    usage: { inputTokens: heard.reduce((sum, each) => sum + countWords(each), 0), outputTokens: countWords(text) },
    model: NAME,
    provider: "holdpoint",
  };
}

const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0;

interface Said {
  readonly text: string;
  readonly citations: readonly Citation[];
}

function abstention(passages: number): Said {
  const nearest = passages === 1 ? "the one passage" : `the ${passages} passages`;
  const searched = passages === 0 ? "I was given no passage that could" : `I looked at ${nearest} nearest to it`;
  return {
    text: `The documents do not answer this: ${searched}. I am an ${NAME}: what is not in the documents, I do not know.`,
    citations: [],
  };
}

/** Each statement with the number of its passage; statements of one passage share its number. */
function quotation(statements: readonly Statement[]): Said {
  const numbers = new Map<string, number>();
  for (const { passage } of statements) if (!numbers.has(passage.id)) numbers.set(passage.id, numbers.size + 1);
  const numberOf = (statement: Statement): number => numbers.get(statement.passage.id) ?? 0;
  const inOrder = statements.toSorted((a, b) => numberOf(a) - numberOf(b) || a.range.start - b.range.start);
  return {
    text: inOrder.map((statement) => `${statement.shown} [${numberOf(statement)}]`).join("\n"),
    citations: inOrder.map((statement) => citationOf(statement.passage, statement.range, numberOf(statement))),
  };
}

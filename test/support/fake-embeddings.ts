/** Titan's and Cohere's embedding models as InvokeModel has them: their bodies, their bounds, and a vector for each text. */
import { createHash } from "node:crypto";
import { BedrockRefusal } from "./fake-bedrock-rules.ts";

const invalid = (message: string): BedrockRefusal => new BedrockRefusal(400, "ValidationException", message);

const TITAN = { chars: 50_000, dimensions: [256, 512, 1024] } as const;
const COHERE = {
  texts: 96,
  chars: 2048,
  dimensions: 1024,
  types: ["search_document", "search_query", "classification", "clustering"],
} as const;

/** The answer of an embedding model. @throws BedrockRefusal for another model, or a body that breaks its rules */
export function embed(model: string, body: Readonly<Record<string, unknown>>): object {
  if (model.startsWith("amazon.titan-embed-text-v2")) return titan(body);
  if (model.startsWith("cohere.embed-")) return cohere(body);
  throw invalid("The provided model identifier is invalid.");
}

function titan({ inputText, dimensions = 1024, normalize = true }: Readonly<Record<string, unknown>>): object {
  if (typeof inputText !== "string" || inputText === "")
    throw invalid(
      "Malformed input request: #/inputText: expected minLength: 1, actual: 0, please reformat your input and try again.",
    );
  if (inputText.length > TITAN.chars)
    throw invalid(
      `Malformed input request: #/inputText: expected maxLength: ${TITAN.chars}, actual: ${inputText.length}, please reformat your input and try again.`,
    );
  if (!TITAN.dimensions.some((one) => one === dimensions))
    throw invalid(
      `Malformed input request: #/dimensions: ${String(dimensions)} is not a valid enum value, please reformat your input and try again.`,
    );
  const vector = fakeVector(inputText, Number(dimensions), normalize === true);
  return {
    embedding: vector,
    embeddingsByType: { float: vector },
    inputTextTokenCount: Math.ceil(inputText.length / 4),
  };
}

function cohere(body: Readonly<Record<string, unknown>>): object {
  const { texts, input_type: purpose, embedding_types: types } = body;
  if (!Array.isArray(texts) || texts.length === 0 || !texts.every((text) => typeof text === "string"))
    throw invalid(
      "Malformed input request: #/texts: expected minimum item count: 1, found: 0, please reformat your input and try again.",
    );
  if (texts.length > COHERE.texts)
    throw invalid(
      `Malformed input request: #/texts: expected maximum item count: ${COHERE.texts}, found: ${texts.length}, please reformat your input and try again.`,
    );
  if (!COHERE.types.some((one) => one === purpose))
    throw invalid(
      "Malformed input request: #: required key [input_type] not found, please reformat your input and try again.",
    );
  // Also with `truncate`, which is about tokens.
  const long = texts.find((text) => text.length > COHERE.chars);
  if (long !== undefined)
    throw invalid(
      `Malformed input request: expected maxLength: ${COHERE.chars}, actual: ${long.length}, please reformat your input and try again.`,
    );
  const vectors = texts.map((text) => fakeVector(text, COHERE.dimensions, true));
  const shaped = Array.isArray(types)
    ? { response_type: "embeddings_by_type", embeddings: { float: vectors } }
    : { response_type: "embeddings_floats", embeddings: vectors };
  return { id: "fake", texts, ...shaped };
}

/** A vector that follows from the words of a text: texts that share words are near each other. */
export function fakeVector(text: string, dimensions: number, normalized: boolean): number[] {
  const vector = Array.from({ length: dimensions }, () => 0);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
    const hash = createHash("sha256").update(word).digest();
    for (let at = 0; at < 8; at++) {
      const place = hash.readUInt16BE(at * 2) % dimensions;
      vector[place] = (vector[place] ?? 0) + ((hash[16 + at] ?? 0) % 2 === 0 ? 1 : -1);
    }
  }
  const length = Math.hypot(...vector);
  return normalized && length > 0 ? vector.map((value) => value / length) : vector;
}

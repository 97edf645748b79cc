import { createHash } from "node:crypto";
import { Annotation, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ text: Annotation<string>(), reply: Annotation<string>() });

/** Whoever says this is answered briefly. */
export const QUIET = "quiet";
export const FRAME_CHARACTERS = 100_000;
export const UPDATE_CHARACTERS = 600_000;

/** Text of a length that no compression makes shorter than three quarters of it; the same for the same seed. */
export function noise(seed: string, characters: number): string {
  const outputLength = Math.ceil(characters * 0.75);
  return createHash("shake256", { outputLength }).update(seed).digest("base64").slice(0, characters);
}

/** Says and returns much, unless it is asked not to. */
export const graph = new StateGraph(State)
  .addNode("swell", (state, config) => {
    if (state.text === QUIET) return { reply: "little" };
    config.writer?.({ said: noise("frame", FRAME_CHARACTERS) });
    return { reply: noise("update", UPDATE_CHARACTERS) };
  })
  .addEdge(START, "swell")
  .compile();

import { tool } from "@langchain/core/tools";
import { services } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";

const Offsets = z.object({ start: z.number().int().min(0), end: z.number().int().min(0) });

const Question = z.object({
  question: z.string().describe("What to answer."),
  passages: z
    .array(
      z.object({
        id: z.string(),
        documentId: z.string(),
        title: z.string(),
        section: z.string(),
        text: z.string(),
        offsets: Offsets,
      }),
    )
    .default([])
    .describe("What the answer has to rest on, as `retrieve` returned it."),
  model: z.string().optional().describe("Name of a model in the catalogue; the default one without it."),
});

/** Asks a model to answer from passages, with citations; its reply says when they do not answer. */
export const askModel = tool(
  async ({ question, passages, model }, config: NodeConfig) =>
    services(config)
      .models(model)
      .complete({
        messages: [{ role: "user", content: question }],
        passages,
        ...(config.signal === undefined ? {} : { signal: config.signal }),
      }),
  {
    name: "ask-model",
    description: "Answers a question from the given passages, citing them, or says that they do not answer it.",
    schema: Question,
  },
);

/** Which tools a person has to release, and how they are asked. */
import { tool } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { EffectRejected, review } from "holdpoint/graph";
import type { NodeConfig, ReviewSpec } from "holdpoint/graph";
import { z } from "zod";

/** `free`: the model may call it as it likes. Else a person is asked first, unless `unless` says otherwise. */
export type ToolPolicy = "free" | ReviewPolicy;

export interface ReviewPolicy extends Pick<ReviewSpec, "groups" | "risk"> {
  readonly title: (args: Readonly<Record<string, unknown>>) => string;
  readonly unless?: (args: Readonly<Record<string, unknown>>) => boolean;
}

/** The tool as the model gets it: what is executed is what was approved, a reviewer's changes included. */
export function withPolicy(inner: StructuredToolInterface, policy: ToolPolicy): StructuredToolInterface {
  if (policy === "free") return inner;
  const { title, unless, groups, risk } = policy;
  const schema = inner.schema as z.ZodObject; // tools of this project say what they take in Zod
  return tool(
    async (args: Readonly<Record<string, unknown>>, config: NodeConfig): Promise<unknown> => {
      if (unless?.(args) === true) return inner.invoke(args, config);
      const answer = await review(config, {
        title: title(args),
        action: inner.name,
        args,
        argsSchema: z.toJSONSchema(schema),
        ...(groups === undefined ? {} : { groups }),
        ...(risk === undefined ? {} : { risk }),
      });
      switch (answer.type) {
        case "approve":
          return inner.invoke(args, config);
        case "edit":
          return inner.invoke(schema.parse(answer.args), config);
        case "reject":
          throw new EffectRejected(answer.message ?? answer.comment ?? "a person said no");
        case "response":
          throw new EffectRejected(answer.message);
      }
    },
    { name: inner.name, description: inner.description, schema },
  );
}

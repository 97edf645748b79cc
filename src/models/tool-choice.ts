import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";

const name = z.string().min(1);

/** The forms in which LangChain's users name the one tool that must be called, or say that one has to be. */
const FORMS = z.union([
  z.object({ type: z.literal("function"), function: z.object({ name }) }).transform((form) => form.function.name),
  z.object({ type: z.literal("tool"), name }).transform((form) => form.name),
  z.object({ tool: z.object({ name }) }).transform((form) => form.tool.name),
  z.object({ type: z.enum(["auto", "any"]) }).transform((form) => form.type),
  z.object({ any: z.object({}) }).transform(() => "any"),
  z.object({ auto: z.object({}) }).transform(() => "auto"),
  z.literal("required").transform(() => "any"),
  name,
]);

/** Which tool must be called, as `ChatRequest` says it. @throws HoldpointError `invalid` for a choice in no known form */
export function toolChoiceOf(choice: unknown): string | undefined {
  if (choice === undefined) return undefined;
  const { success, data } = FORMS.safeParse(choice);
  if (success) return data;
  throw new HoldpointError("invalid", `tool_choice is in no form that is known here: ${JSON.stringify(choice)}`);
}

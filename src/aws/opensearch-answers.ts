/** What answers of OpenSearch have in common. */
import { z } from "zod";

/** JSON within JSON. */
export const fromJson = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue("is not JSON");
    return z.NEVER;
  }
});

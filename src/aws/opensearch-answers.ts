/** What searches answer with, and which of it counts: all shards were asked, and all were there in time. */
import { z } from "zod";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

/** Sent as false with every search: an error in place of an answer from a part of the index. */
export const PARTIAL = "allow_partial_search_results";

/** What every search says of how it went. */
export const searchSpan = z.object({
  timed_out: z.boolean(),
  _shards: z.object({ total: z.number(), successful: z.number(), failed: z.number() }),
});

/** What is missing from it would look as if it were not there. @throws HoldpointError `unavailable` */
export function checkWhole(
  requests: OpenSearchRequests,
  { timed_out: isLate, _shards: { total, successful, failed } }: z.infer<typeof searchSpan>,
): void {
  // A shard that is away is neither successful nor failed.
  if (isLate || failed > 0 || successful < total)
    throw requests.failed("unavailable", "answered a search from a part of the index: shards are away or too slow");
}

/** JSON within JSON. */
export const fromJson = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue("is not JSON");
    return z.NEVER;
  }
});

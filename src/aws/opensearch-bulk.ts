/** Bulk writes: cut to a size that every instance of Amazon's takes, and what is refused for now sent again by itself. */
import { z } from "zod";
import { errorReason, isForNow } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

/** Which version of an item a write replaces. */
export interface Guard {
  readonly seqNo: number;
  readonly primaryTerm: number;
}

export interface BulkAction {
  /** `create` fails where there is an item already. */
  readonly verb: "index" | "create" | "delete";
  readonly id: string;
  readonly source?: object;
  /** The write fails with status 409 when the item is another one by then. */
  readonly guard?: Guard | undefined;
}

export interface BulkOutcome {
  readonly status: number;
  /** Of the item as it is now, when it was written. */
  readonly guard: Guard | undefined;
  readonly reason: string;
}

/** Bytes of one request. The smallest instances of Amazon OpenSearch Service take 10 MiB. */
const MOST_BYTES = 4 * 1024 * 1024;
/** How often an action is sent before it counts as failed. */
const ATTEMPTS = 8;

const answer = z.object({
  items: z.array(
    z.record(
      z.string(),
      z.object({
        status: z.number(),
        _seq_no: z.number().optional(),
        _primary_term: z.number().optional(),
        error: z.unknown().optional(),
      }),
    ),
  ),
});

/**
 * What became of each action, in their order. Those that the server was too busy for are sent again, and no others.
 * @throws HoldpointError as `OpenSearchRequests.send` does
 */
export async function sendBulk(
  requests: OpenSearchRequests,
  actions: readonly BulkAction[],
  signal: AbortSignal | undefined,
): Promise<readonly BulkOutcome[]> {
  const outcomes: BulkOutcome[] = [];
  let waiting = actions.map((action, at) => ({ at, lines: linesOf(action) }));
  for (let attempt = 0; waiting.length > 0; attempt += 1) {
    const again: typeof waiting = [];
    for (const group of groups(waiting)) {
      const said = await sendGroup(requests, group, signal);
      for (const [index, one] of group.entries()) {
        const outcome = said[index] ?? { status: 500, guard: undefined, reason: "the answer leaves it out" };
        outcomes[one.at] = outcome;
        if (isForNow(outcome.status)) again.push(one);
      }
    }
    if (attempt + 1 === ATTEMPTS) break;
    waiting = again;
    if (again.length > 0) await requests.pause(attempt, signal);
    signal?.throwIfAborted();
  }
  return outcomes;
}

interface Waiting {
  readonly at: number;
  readonly lines: string;
}

async function sendGroup(
  requests: OpenSearchRequests,
  group: readonly Waiting[],
  signal: AbortSignal | undefined,
): Promise<readonly BulkOutcome[]> {
  const body = group.map(({ lines }) => lines).join("");
  const { json } = await requests.send({ method: "POST", path: "_bulk", body, signal });
  const parsed = answer.safeParse(json);
  if (!parsed.success) throw requests.failed("unavailable", "answered a bulk write with something else", parsed.error);
  return parsed.data.items.flatMap((item) =>
    Object.values(item).map(({ status, _seq_no: seqNo, _primary_term: primaryTerm, error }) => ({
      status,
      guard: seqNo === undefined || primaryTerm === undefined ? undefined : { seqNo, primaryTerm },
      reason: errorReason.safeParse({ error }).data ?? "",
    })),
  );
}

function linesOf({ verb, id, source, guard }: BulkAction): string {
  const expected = guard === undefined ? {} : { if_seq_no: guard.seqNo, if_primary_term: guard.primaryTerm };
  const head = JSON.stringify({ [verb]: { _id: id, ...expected } });
  return source === undefined ? `${head}\n` : `${head}\n${JSON.stringify(source)}\n`;
}

function* groups(waiting: readonly Waiting[]): Generator<readonly Waiting[]> {
  let group: Waiting[] = [];
  let bytes = 0;
  for (const one of waiting) {
    const size = Buffer.byteLength(one.lines);
    if (group.length > 0 && bytes + size > MOST_BYTES) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(one);
    bytes += size;
  }
  if (group.length > 0) yield group;
}

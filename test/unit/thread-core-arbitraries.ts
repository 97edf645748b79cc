import fc from "fast-check";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Run, RunStatus, StopAction } from "../../src/core/run.ts";
import { untouchedEnd } from "../../src/core/run.ts";
import { tombstone } from "../../src/core/thread-changes.ts";
import type { Active, Lease, QueueEntry, Strikes, Thread, ThreadMetadata, Waiting } from "../../src/core/thread.ts";

export const POOLS = ["default", "gpu", "eu#1"] as const;

const time = fc.integer({ min: 1_600_000_000_000, max: 1_900_000_000_000 });
const id = fc.uuid({ version: [4, 5, 7] }).map(runId);

export const anyEntry: fc.Arbitrary<QueueEntry> = fc.record(
  {
    runId: id,
    kind: fc.constantFrom<QueueEntry["kind"]>("input", "continuation"),
    pool: fc.constantFrom(...POOLS),
    graphId: fc.constantFrom("g", "desk"),
    stop: fc.constantFrom<StopAction>("interrupt", "rollback"),
  },
  { requiredKeys: ["runId", "kind", "pool", "graphId"] },
);

/** Distinct entries, as in every queue that `appended` can make. */
export const entries = (maxLength: number): fc.Arbitrary<QueueEntry[]> =>
  fc.uniqueArray(anyEntry, { maxLength, selector: (entry) => entry.runId });

const strikes: fc.Arbitrary<Strikes> = fc.record(
  { count: fc.nat(5), owner: fc.string(), head: fc.string() },
  { requiredKeys: ["count", "owner"] },
);
const lease: fc.Arbitrary<Lease> = fc.record({ owner: fc.string(), beat: fc.nat(), endsAt: time });
const waiting: fc.Arbitrary<Waiting> = fc
  .record({ runId: id, reviews: fc.nat(3), plain: fc.nat(3) })
  .filter((w) => w.reviews + w.plain > 0);
const metadata: fc.Arbitrary<ThreadMetadata> = fc.oneof(
  fc.record({
    kind: fc.constant("inline" as const),
    value: fc.dictionary(fc.stringMatching(/^[a-z_]{1,12}$/), fc.string()),
  }),
  fc.record({ kind: fc.constant("item" as const), id: fc.stringMatching(/^[0-9a-f]{16}$/) }),
);

const optional = <T>(key: keyof Thread, value: fc.Arbitrary<T>): fc.Arbitrary<object> =>
  fc.option(value).map((some) => (some === null ? {} : { [key]: some }));

/** Any header that decodes: queue and active run are distinct, everything optional is sometimes there. */
export const anyThread: fc.Arbitrary<Thread> = fc
  .tuple(
    fc.record({
      tenant: fc.string({ minLength: 1 }).map(tenantId),
      threadId: fc.string({ minLength: 1 }).map(threadId),
      generation: fc.nat(999_999),
      deleted: fc.boolean(),
      fence: fc.nat(1_000_000),
      priority: fc.nat(9),
      readyAt: time,
      metadata,
      createdAt: time,
      updatedAt: time,
    }),
    entries(8),
    fc.constantFrom("none", "run", "update"),
    optional("remnants", fc.constant(true as const)),
    optional("lease", lease),
    optional("wakeAt", time),
    optional("strikes", strikes),
    optional("waiting", waiting),
    optional("lastEnd", fc.constantFrom("success" as const, "held" as const, "error" as const, "cancelled" as const)),
  )
  .map(([base, all, activity, ...rest]) => {
    const [first, ...others] = all;
    const active: Active | undefined =
      activity === "update"
        ? { kind: "update" }
        : activity === "run" && first
          ? { kind: "run", entry: first }
          : undefined;
    const { deleted, ...alive } = base;
    const some = rest.reduce<object>((fields, field) => ({ ...fields, ...field }), {});
    const thread: Thread = {
      ...alive,
      deleted: false,
      ...some,
      ...(active === undefined ? {} : { active }),
      queue: active?.kind === "run" ? others : all,
    };
    if (deleted) return tombstone(thread, thread.updatedAt);
    const { wakeAt: _, strikes: __, ...awake } = thread;
    return active?.kind === "run" ? thread : awake;
  });

export const STATUSES: readonly RunStatus[] = [
  "pending",
  "running",
  "waiting",
  "success",
  "held",
  "error",
  "timeout",
  "cancelled",
  "parked",
  "refused",
];

/** A run item of a given id and status, with nothing else of interest on it. */
export function plainRun(id: RunId, status: RunStatus, fields: Partial<Run> = {}): Run {
  const at = 1_700_000_000_000;
  const unfinished = status === "pending" || status === "running" || status === "waiting";
  return {
    tenant: tenantId("acme"),
    threadId: threadId("case"),
    runId: id,
    kind: "input",
    status,
    generation: 0,
    fence: 0,
    acceptNumber: 1,
    deliveries: 0,
    root: id,
    assistantId: "a",
    graphId: "g",
    pool: "default",
    priority: 5,
    startedBy: "ann",
    stateless: false,
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    ...(unfinished ? {} : { end: untouchedEnd(at) }),
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

/** Any run item, of the given id when one is named. */
export const anyRun: fc.Arbitrary<Run> = fc
  .record({
    id,
    status: fc.constantFrom(...STATUSES),
    kind: fc.constantFrom("input" as const, "continuation" as const),
    fence: fc.nat(20),
    deliveries: fc.nat(5),
    acceptNumber: fc.integer({ min: 1, max: 4 }),
    followUp: fc.boolean(),
    cancelAsked: fc.boolean(),
    stateless: fc.boolean(),
    keep: fc.boolean(),
  })
  .map((r) =>
    plainRun(r.id, r.status, {
      kind: r.kind,
      fence: r.fence,
      deliveries: r.deliveries,
      acceptNumber: r.acceptNumber,
      stateless: r.stateless,
      settings: {
        streamModes: [],
        streamSubgraphs: false,
        streamResumable: false,
        multitaskStrategy: "enqueue",
        onCompletion: r.keep ? "keep" : "delete",
      },
      ...(r.followUp ? { followUpAt: 1_700_000_660_000 } : {}),
      ...(r.cancelAsked ? { cancelAsked: { by: "bob", at: 1_700_000_000_000 } } : {}),
    }),
  );

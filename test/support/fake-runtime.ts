/**
 * The Runtime port in memory, for what is HTTP's own business: parsing, statuses, framing, limits. It keeps runs and
 * reviews of tenants apart, says nothing about how they come about, and plays what a test puts into it.
 */
import { HoldpointError } from "../../src/core/errors.ts";
import type { Hold } from "../../src/core/hold.ts";
import { holdId, namedUuid, runId, threadId } from "../../src/core/ids.ts";
import type { Principal } from "../../src/core/principal.ts";
import { pendingRun } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { AuditUseCases } from "../../src/runtime/audit/audit-log.ts";
import type { OperatorUseCases } from "../../src/runtime/operators/use-cases.ts";
import type {
  AcceptRequest,
  AssistantUseCases,
  CancelMany,
  CancelRun,
  Followed,
  FollowRequest,
  Runtime,
  RunResult,
  StoreUseCases,
  ThreadUseCases,
} from "../../src/runtime/runtime.ts";
import type { DecideRequest } from "../../src/runtime/decisions/decide.ts";
import { holdOf } from "./hold.ts";

export interface FakeRuntime {
  readonly runtime: Runtime;
  readonly accepted: { readonly principal: Principal; readonly request: AcceptRequest }[];
  readonly cancels: CancelRun[];
  readonly bulkCancels: CancelMany[];
  readonly decisions: DecideRequest[];
  readonly follows: FollowRequest[];
  /** What the next readers of any run see. */
  play: (request: FollowRequest, run: Run) => AsyncIterable<Followed>;
  /** What any run comes to. */
  outcome: (run: Run, signal: AbortSignal) => Promise<RunResult>;
  /** Thrown by the next accept. */
  refusal: Error | undefined;
}

const NAMESPACE = "3c1c6e0a-7a0d-5b7e-8f5e-0d2d6a1b4c11";

export function createFakeRuntime(): FakeRuntime {
  const kept = new Map<string, Run>();
  const fake: FakeRuntime = {
    accepted: [],
    cancels: [],
    bulkCancels: [],
    decisions: [],
    follows: [],
    refusal: undefined,
    async *play(_request, run) {
      yield { kind: "end", run };
    },
    outcome: async (run) => ({ kind: "values", run, values: { done: true } }),
    runtime: {
      threads: notUsed("threads") as ThreadUseCases,
      effects: notUsed("effects") as Runtime["effects"],
      assistants: notUsed("assistants") as AssistantUseCases,
      store: notUsed("store") as StoreUseCases,
      audit: notUsed("audit") as AuditUseCases,
      operators: notUsed("operators") as OperatorUseCases,
      callbacks: notUsed("callbacks") as Runtime["callbacks"],
      webhooks: notUsed("webhooks") as Runtime["webhooks"],
      schedules: notUsed("schedules") as Runtime["schedules"],
      links: notUsed("links") as Runtime["links"],
      policies: notUsed("policies") as Runtime["policies"],
      runs: {
        async accept(principal, request) {
          if (fake.refusal) throw fake.refusal;
          const run = runOf(principal, request, fake.accepted.push({ principal, request }));
          kept.set(keyOf(principal, run.runId), run);
          return run;
        },
        get: async (principal, _thread, id) => found(kept.get(keyOf(principal, id))),
        payload: async (run) => run.payload ?? {},
        waitingFor: async () => undefined,
        threadOf: async (principal, id) => found(kept.get(keyOf(principal, id))).threadId,
        list: async () => [...kept.values()],
        async cancel(principal, request) {
          fake.cancels.push(request);
          return found(kept.get(keyOf(principal, request.runId)));
        },
        cancelMany: async (_principal, request) => void fake.bulkCancels.push(request),
        wait: async (principal, _thread, id, signal) => fake.outcome(found(kept.get(keyOf(principal, id))), signal),
        follow(principal, request) {
          fake.follows.push(request);
          return fake.play(request, found(kept.get(keyOf(principal, request.runId))));
        },
      },
      reviews: {
        list: async (principal, page) => ({
          items: [reviewOf(principal)],
          ...(page.after === undefined ? { next: `after ${principal.tenant}` } : {}),
        }),
        get: async (principal) => reviewOf(principal),
        work: async (principal) => reviewOf(principal),
        count: () => Promise.reject(new Error("this test does not count")),
        decideMany: () => Promise.reject(new Error("this test decides one")),
        statistics: () => Promise.reject(new Error("this test does not count")),
        async *watch(principal) {
          yield { kind: "review", hold: reviewOf(principal) };
        },
        async decide(principal, _id, decision) {
          if (fake.refusal) throw fake.refusal;
          fake.decisions.push(decision);
          return reviewOf(principal);
        },
      },
    },
  };
  return fake;
}

const keyOf = (principal: Principal, id: string): string => `${principal.tenant} ${id}`;

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new HoldpointError("not_found", "Run not found");
  return value;
}

function notUsed(what: string): object {
  return new Proxy({}, { get: () => () => Promise.reject(new Error(`this test does not serve ${what}`)) });
}

function runOf(principal: Principal, request: AcceptRequest, n: number): Run {
  const id = runId(namedUuid(`run ${n}`, NAMESPACE));
  return pendingRun({
    tenant: principal.tenant,
    threadId: request.threadId ?? threadId(namedUuid(`thread ${n}`, NAMESPACE)),
    runId: id,
    kind: "input",
    generation: 0,
    root: id,
    assistantId: request.assistantId,
    graphId: request.assistantId,
    pool: "default",
    priority: 5,
    startedBy: principal.subject,
    stateless: request.threadId === undefined,
    settings: request.settings,
    payload: request.payload,
    createdAt: 1_700_000_000_000,
  });
}

function reviewOf({ tenant }: Principal): Hold {
  return holdOf({
    tenant,
    threadId: threadId(namedUuid("thread", NAMESPACE)),
    holdId: holdId("0123"),
    runId: runId(namedUuid("run", NAMESPACE)),
    graphId: "desk",
    assistantId: "desk",
    startedBy: "somebody",
    node: "propose",
    origin: "review",
    interruptId: "i1",
    raisedBy: { id: "i1", ns: "", checkpointId: "c1", taskId: "t1", ordinal: 0 },
    value: { action_requests: [] },
    request: { number: 0, title: "Refund above limit", action: "refund", args: { amount: 100 } },
    digest: "d1",
    raisedAt: 1_700_000_000_000,
  });
}

/** `command.resume` with answers of which some come too late: somebody else was first. On every engine. */
import { afterEach, describe, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import type { Principal } from "../../src/core/principal.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { askers } from "../support/askers.ts";
import { engines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";
import { createTracedTable } from "../support/traced-table.ts";
import type { TracedCall } from "../support/traced-table.ts";

const graphs = createRegistry([
  registeredGraph("one", askers(["left"], String)),
  registeredGraph("pair", askers(["left", "right"], String)),
]);

const BOB: Principal = { tenant: tenantId("acme"), subject: "bob", roles: ["reviewer"], groups: [] };

interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly digest: string;
  readonly interrupt_id: string;
  readonly value: { readonly from: string };
}

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const reviewsOf = async ({ app }: Service, thread: string): Promise<readonly Review[]> => {
  const { items } = (await (await app.call("GET", "/v1/reviews")).json()) as { readonly items: readonly Review[] };
  return items.filter(({ thread_id: of }) => of === thread);
};
const decide = async ({ app }: Service, { id, digest }: Review, value: string): Promise<void> => {
  const json = { type: "value", value, digest };
  expect((await app.call("POST", `/v1/reviews/${id}/decisions`, { json })).status).toBe(200);
};
const resume = ({ app }: Service, thread: string, answers: unknown): Promise<Response> =>
  app.call("POST", `/threads/${thread}/runs`, { json: { assistant_id: "pair", command: { resume: answers } } });

describe.each(engines())("an answer by command.resume that comes too late, on $name", (engine) => {
  /** A thread at which both nodes wait, and nobody who executes anything. */
  async function asked(graph: "one" | "pair") {
    const handles = stack.use(await engine.open());
    const serve = async (table: Table, worker = false): Promise<Service> =>
      stack.use(await startService({ graphs, table, worker }));
    const worked = await serve(await handles.another(), true);
    const { thread_id: thread } = await worked.client("acme").threads.create();
    await worked.client("acme").runs.wait(thread, graph, { input: {} });
    await worked.worker?.drain();
    const service = await serve(handles.table);
    const found = await reviewsOf(service, thread);
    const of = (name: string): Review => found.find(({ value }) => value.from === name) ?? none();
    const went = async (): Promise<readonly string[]> => {
      const later = await serve(await handles.another(), true);
      const isIdle = async () => (await later.client("acme").threads.get(thread)).status === "idle";
      await eventually(async () => (await reviewsOf(later, thread)).length === 0, "that nothing waits");
      await eventually(isIdle, "that the thread is idle");
      return (await later.client("acme").threads.getState<{ log: string[] }>(thread)).values.log.toSorted();
    };
    return { service, thread, of, went, serve, handles };
  }

  it("is 409 with who decided what and when, and nothing that came with it is decided", async () => {
    const { service, thread, of, went } = await asked("pair");
    const [left, right] = [of("left"), of("right")];
    await decide(service, left, "in time");
    const late = await resume(service, thread, { [left.interrupt_id]: "late", [right.interrupt_id]: "R" });
    expect([late.status, await late.json()]).toMatchObject([
      409,
      { detail: expect.stringMatching(/^already decided: value by alice at \d{4}-/) as string },
    ]);
    const [open, ...others] = await reviewsOf(service, thread);
    expect([open?.id, others]).toEqual([right.id, []]);
    expect((await resume(service, thread, { [right.interrupt_id]: "R" })).status).toBe(200);
    expect(await went()).toEqual(["left in time", "right R"]);
  });

  it("is 409 with who and when also where it is the only one", async () => {
    const { service, thread, of, went } = await asked("one");
    await decide(service, of("left"), "in time");
    for (const answer of ["late", { [of("left").interrupt_id]: "late" }]) {
      const late = await resume(service, thread, answer);
      expect([late.status, await late.text()]).toEqual([
        409,
        expect.stringContaining("already decided: value by alice"),
      ]);
    }
    expect(await went()).toEqual(["left in time"]);
  });

  it("between the look and the write, is on the audit log, and the run goes on with what it won", async () => {
    const { service, thread, went, serve, handles } = await asked("pair");
    let puts = 0;
    const before = async ({ method, sk }: TracedCall): Promise<void> => {
      if (method !== "put" || !sk.startsWith(threadKeys.holdPrefix) || ++puts !== 2) return;
      const [left] = await reviewsOf(service, thread);
      await decide(service, left ?? none(), "in time");
    };
    const slow = await serve(createTracedTable(await handles.another(), { before }));
    const ids = (await reviewsOf(slow, thread)).map(({ interrupt_id: id }) => id);
    const answers = Object.fromEntries(ids.map((id) => [id, "resumed"]));
    expect((await resume(slow, thread, answers)).status).toBe(200);
    expect((await went()).map((said) => said.replace(/^\w+ /, "")).toSorted()).toEqual(["in time", "resumed"]);
    const audited = await service.app.call("GET", `/v1/audit?thread_id=${thread}&action=too-late`);
    expect(await audited.json()).toMatchObject({ items: [{ actor: "alice", kind: "decision" }] });
  });

  it("is 409 where somebody claims the review between the look and the write, and nothing is decided", async () => {
    const { service, thread, of, serve, handles } = await asked("one");
    const review = of("left");
    let puts = 0;
    const before = async ({ method, sk }: TracedCall): Promise<void> => {
      if (method !== "put" || !sk.startsWith(threadKeys.holdPrefix) || ++puts !== 1) return;
      await service.runtime.reviews.work(BOB, review.id, { work: { kind: "claim", forMs: 600_000 } });
    };
    const slow = await serve(createTracedTable(await handles.another(), { before }));
    const late = await resume(slow, thread, "resumed");
    expect([late.status, await late.text()]).toEqual([409, expect.stringContaining("bob has claimed review")]);
    expect(await reviewsOf(service, thread)).toMatchObject([{ id: review.id, claim: { by: "bob" } }]);
  });
});

function none(): never {
  throw new Error("there is no such review");
}

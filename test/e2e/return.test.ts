/** A reader whose API process is killed in the middle of a stream, and who returns to another one for the rest. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { fleetEngines } from "../support/fleet.ts";
import { until } from "../support/process.ts";
import { SseReader } from "../support/sse.ts";
import type { ReadEvent } from "../support/sse.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/langgraph.json");
const STEPS = 12;

const isNumbered = ({ id }: ReadEvent): boolean => id !== undefined;
const numbersOf = (events: readonly ReadEvent[]): readonly number[] =>
  events.filter(isNumbered).map(({ id }) => Number(id));
const upFrom = (first: number, count: number): readonly number[] => Array.from({ length: count }, (_, n) => first + n);

const stepsIn = (events: readonly ReadEvent[]) =>
  events.filter(({ event }) => event === "custom").map(({ data }) => data);

/** Starts the run, and says under which path it is found. */
async function startSteps(url: string, thread: string) {
  const response = await fetch(`${url}/threads/${thread}/runs/stream`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      assistant_id: "steps",
      input: { steps: STEPS, pauseMs: 150 },
      stream_mode: ["values", "updates", "custom"],
    }),
  });
  const [path = ""] = /\/threads\/.*\/runs\/[0-9a-f-]{36}/.exec(response.headers.get("content-location") ?? "") ?? [];
  return { response, path };
}

const read = async (url: string, after: number): Promise<readonly ReadEvent[]> => {
  const reader = new SseReader(await fetch(url, { headers: { "last-event-id": String(after) } }));
  await until("the stream to end", () => reader.ended, 30_000);
  expect(reader.failure).toBeUndefined();
  return reader.events();
};

/** Whoever returns from anywhere gets what follows, and at the end no frame at all. */
async function expectRestFromAnywhere(url: string, numbers: readonly number[]): Promise<void> {
  for (const after of numbers) {
    expect(numbersOf(await read(url, after))).toEqual(numbers.filter((number) => number > after));
  }
}

describe.each(fleetEngines().slice(0, 1))("on $name", { timeout: 120_000 }, (engine) => {
  it("a reader whose API was killed gets exactly the rest from the next one", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG });
    const killed = await fleet.startApi();
    const worker = fleet.start({ role: "worker" });
    const { thread_id: thread } = await killed.client.threads.create();
    const { response, path } = await startSteps(killed.url, thread);
    const reader = new SseReader(response);
    await until("some of the stream", () => numbersOf(reader.events()).length >= 8);
    await killed.service.stop("SIGKILL");
    await until("the stream to break off", () => reader.ended);
    expect(reader.failure).toBeDefined();
    const seen = reader.events().filter(isNumbered);
    const last = numbersOf(seen).at(-1) ?? -1;

    const next = await fleet.startApi();
    const url = `${next.url}${path}/stream`;
    const rest = await read(url, last);
    const whole = await read(url, -1);
    expect(numbersOf(rest)[0]).toBe(last + 1);
    expect([...seen, ...rest]).toEqual(whole);
    const numbers = numbersOf(whole);
    expect(numbers).toEqual(upFrom(numbers[0] ?? -1, numbers.length));
    // The kill came in the middle: the killed process had shown some of the steps, and not all.
    expect(stepsIn(seen)).not.toEqual([]);
    expect(stepsIn(rest)).not.toEqual([]);
    expect(stepsIn(whole)).toEqual(upFrom(1, STEPS).map((step) => ({ step })));
    expect(await next.client.runs.join(thread, path.slice(-36))).toMatchObject({
      taken: upFrom(1, STEPS).map(() => worker.pid),
    });
    await expectRestFromAnywhere(url, numbers);
  });
});

import { request } from "node:http";
import type { ClientRequest } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import type { Json } from "../../src/core/json.ts";
import type { Followed } from "../../src/runtime/runtime.ts";
import { eventually } from "../support/eventually.ts";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import type { FakeRuntime } from "../support/fake-runtime.ts";
import { startApp } from "../support/http.ts";
import type { TestApp } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { SseReader } from "../support/sse.ts";

const THREAD = "0190c3a0-0000-7000-8000-000000000001";
const BODY = { assistant_id: "desk", input: {} };

const frame = (number: number, event: string, data: Json): Followed => ({
  kind: "frame",
  frame: { number, event, data },
});

let fake: FakeRuntime;
let clock: ManualClock;
let closing: AbortController;
let app: TestApp;

beforeEach(async () => {
  fake = createFakeRuntime();
  clock = createManualClock();
  closing = new AbortController();
  app = await startApp({ runtime: fake.runtime, clock, closing: closing.signal });
});
afterEach(async () => {
  await app[Symbol.asyncDispose]();
});

/** Plays these frames to every reader, then the end of the run. */
function plays(...frames: readonly Followed[]): void {
  fake.play = async function* (_request, run) {
    yield* frames;
    yield { kind: "end", run: { ...run, status: "success" } };
  };
}

/** A run of whose frames the test decides when they come. */
function playsUntilAborted(first: readonly Followed[] = []): void {
  fake.play = async function* ({ signal }) {
    yield* first;
    await new Promise((resolve) => {
      signal.addEventListener("abort", resolve, { once: true });
    });
  };
}

async function startRun(json: object = BODY): Promise<string> {
  const answer = await app.call("POST", `/threads/${THREAD}/runs`, { json });
  return ((await answer.json()) as { readonly run_id: string }).run_id;
}

describe("a stream of a new run", () => {
  it("names the run in its headers, before anything has happened", async () => {
    playsUntilAborted();
    const response = await app.call("POST", `/threads/${THREAD}/runs/stream`, { json: BODY });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("cache-control")).toBe("no-cache");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const location = response.headers.get("content-location") ?? "";
    expect(location).toMatch(new RegExp(`^/threads/${THREAD}/runs/[0-9a-f-]{36}$`));
    expect(response.headers.get("location")).toBe(`${location}/stream`);
    await response.body?.cancel();
  });

  it("writes event, data and id of each frame in this order, and no end of an ordinary run", async () => {
    plays(
      frame(7, "metadata", { attempt: 1 }),
      frame(8, "values", { text: "two\nlines" }),
      frame(9, "values|sub:1", {}),
    );
    const response = await app.call("POST", `/threads/${THREAD}/runs/stream`, { json: BODY });
    expect(await response.text()).toBe(
      'event: metadata\ndata: {"attempt":1}\nid: 7\n\n' +
        'event: values\ndata: {"text":"two\\nlines"}\nid: 8\n\n' +
        "event: values|sub:1\ndata: {}\nid: 9\n\n",
    );
    expect(fake.follows[0]?.after).toBe(-1);
  });

  it("ends a resumable run with `end`", async () => {
    plays();
    const response = await app.call("POST", `/threads/${THREAD}/runs/stream`, {
      json: { ...BODY, stream_resumable: true },
    });
    expect(new SseReader(response)).toBeDefined();
    const { text } = await readAll(
      await app.call("POST", "/runs/stream", { json: { ...BODY, stream_resumable: true } }),
    );
    expect(text).toMatch(/^event: end\ndata: {"run_id":"[0-9a-f-]{36}","status":"success"}\n\n$/);
  });

  it("of a stateless run carries ids too, and can be taken up again", async () => {
    plays(frame(1, "values", {}));
    const response = await app.call("POST", "/runs/stream", { json: BODY });
    expect(response.headers.get("content-location")).toMatch(/^\/runs\/[0-9a-f-]{36}$/);
    expect(response.headers.get("location")).toMatch(/\/runs\/[0-9a-f-]{36}\/stream$/);
    expect(await response.text()).toContain("id: 1\n");
  });

  it("is refused with a status, and not in the stream, when the run is refused", async () => {
    fake.refusal = new HoldpointError("conflict", "Thread is busy");
    const response = await app.call("POST", `/threads/${THREAD}/runs/stream`, { json: BODY });
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ detail: "Thread is busy" });
  });
});

async function readAll(response: Response): Promise<SseReader> {
  const reader = new SseReader(response);
  await eventually(() => reader.ended);
  return reader;
}

describe("reading along", () => {
  it("without Last-Event-ID shows what comes from now on, with -1 everything, otherwise what follows", async () => {
    const run = await startRun();
    for (const [header, after] of [
      [undefined, undefined],
      ["-1", -1],
      ["41", 41],
    ] as const) {
      const headers = header === undefined ? {} : { "last-event-id": header };
      const reader = await readAll(await app.call("GET", `/threads/${THREAD}/runs/${run}/stream`, { headers }));
      expect(fake.follows.at(-1)?.after).toBe(after);
      expect(reader.events().map(({ event }) => event)).toEqual(header === undefined ? [] : ["end"]);
    }
    const bad = await app.call("GET", `/threads/${THREAD}/runs/${run}/stream`, { headers: { "last-event-id": "x" } });
    expect(bad.status).toBe(422);
  });

  it("shows the modes that were asked for, and always how the run began and failed", async () => {
    plays(
      frame(1, "metadata", {}),
      frame(2, "values", {}),
      frame(3, "updates|sub:1", {}),
      frame(4, "messages", []),
      frame(5, "messages/partial", []),
      frame(6, "custom", 1),
      frame(7, "error", { error: "Error", message: "no" }),
    );
    const run = await startRun();
    const names = async (query: string): Promise<string[]> => {
      const reader = await readAll(await app.call("GET", `/threads/${THREAD}/runs/${run}/stream${query}`));
      return reader.events().map(({ event }) => event);
    };
    expect(await names("?stream_mode=updates")).toEqual(["metadata", "updates|sub:1", "error"]);
    expect(await names("?stream_mode=messages&stream_mode=custom")).toEqual([
      "metadata",
      "messages/partial",
      "custom",
      "error",
    ]);
    expect(await names("?stream_mode=messages-tuple")).toEqual(["metadata", "messages", "error"]);
    expect(await names("")).toHaveLength(7);
  });

  it("finds a stateless run by its id alone", async () => {
    const started = await app.call("POST", "/runs", { json: BODY });
    const { run_id: run } = (await started.json()) as { readonly run_id: string };
    plays(frame(3, "values", {}));
    const reader = await readAll(await app.call("GET", `/runs/${run}/stream`, { headers: { "last-event-id": "-1" } }));
    expect(reader.events().map(({ event }) => event)).toEqual(["values", "end"]);
    expect((await app.call("GET", `/runs/${run}/stream`, { as: "globex" })).status).toBe(404);
  });
});

describe("a quiet stream", () => {
  it("carries a comment every five seconds", async () => {
    playsUntilAborted();
    const reader = new SseReader(await app.call("POST", "/runs/stream", { json: BODY }));
    for (let beats = 1; beats <= 3; beats++) {
      await eventually(() => clock.sleepers() === 1);
      clock.advance(4_999);
      expect(clock.sleepers()).toBe(1);
      clock.advance(1);
      await eventually(() => reader.comments() === beats);
    }
    expect(reader.events()).toEqual([]);
  });

  it("stops beating when it ends", async () => {
    plays();
    await readAll(await app.call("POST", "/runs/stream", { json: BODY }));
    expect(clock.sleepers()).toBe(0);
  });
});

describe("a client that goes", () => {
  const leave = async (json: object): Promise<void> => {
    playsUntilAborted([frame(1, "metadata", {})]);
    const leaving = new AbortController();
    const reader = new SseReader(await app.call("POST", "/runs/stream", { json, signal: leaving.signal }));
    await eventually(() => reader.events().length === 1);
    leaving.abort();
    await eventually(() => fake.follows[0]?.signal.aborted);
    await eventually(() => clock.sleepers() === 0, "the heartbeat's end");
  };

  it("leaves its run alone, unless it asked otherwise", async () => {
    await leave(BODY);
    expect(fake.cancels).toEqual([]);
    await leave({ ...BODY, on_disconnect: "cancel" });
    await eventually(() => fake.cancels.length === 1);
    expect(fake.cancels[0]).toMatchObject({ wait: false, reason: "the client has gone" });
  });

  it("may ask so when it joins, if it may cancel runs at all", async () => {
    const run = await startRun();
    playsUntilAborted();
    for (const path of ["stream", "join"]) {
      fake.cancels.length = 0;
      fake.outcome = (_run, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("gone")), { once: true });
        });
      const leaving = new AbortController();
      const joining = app
        .call("GET", `/threads/${THREAD}/runs/${run}/${path}?cancel_on_disconnect=1`, { signal: leaving.signal })
        .then((response) => response.text())
        .catch(() => "gone");
      await eventually(() => clock.sleepers() === 1);
      leaving.abort();
      expect(await joining).toBe("gone");
      await eventually(() => fake.cancels.length === 1);
    }
  });

  it("is not what a stopping server sees: its runs go on", async () => {
    playsUntilAborted([frame(1, "metadata", {})]);
    const reader = new SseReader(
      await app.call("POST", "/runs/stream", { json: { ...BODY, on_disconnect: "cancel" } }),
    );
    await eventually(() => reader.events().length === 1);
    closing.abort();
    await eventually(() => reader.ended);
    expect(reader.failure).toBeUndefined();
    expect(fake.cancels).toEqual([]);
  });
});

describe("a reader that never reads", () => {
  const FRAME_BYTES = 64 * 1024;
  /** What the operating system holds for a connection on loopback, generously. */
  const MOST_FRAMES = (32 * 1024 * 1024) / FRAME_BYTES;

  /** A request whose answer is never read from the socket. */
  const startUnread = (): Promise<ClientRequest> =>
    new Promise((resolve, reject) => {
      const { port } = new URL(app.url);
      const headers = { "content-type": "application/json", "x-api-key": app.key("acme") };
      const unread = request({ port, host: "127.0.0.1", path: "/runs/stream", method: "POST", headers });
      unread.on("response", (response) => {
        response.pause();
        resolve(unread);
      });
      unread.on("error", reject).end(JSON.stringify(BODY));
    });

  it("is given no more than its connection takes, and is cut after a while", async () => {
    let produced = 0;
    let ended = false;
    fake.play = async function* () {
      try {
        for (;;) yield frame(produced++, "custom", "x".repeat(FRAME_BYTES));
      } finally {
        ended = true;
      }
    };
    const unread = await startUnread();
    unread.on("error", () => {});
    // Two sleep: the heartbeat, and the one who waits for the reader.
    await eventually(() => clock.sleepers() === 2, "a full connection");
    expect(produced).toBeLessThan(MOST_FRAMES);
    const stalled = produced;
    clock.advance(29_999);
    expect(produced).toBe(stalled);
    clock.advance(1);
    await eventually(() => ended, "the end of the reading");
    await eventually(() => clock.sleepers() === 0);
    unread.destroy();
  });

  it("unlike one that is merely slow", async () => {
    const frames = 600;
    let produced = 0;
    fake.play = async function* (_request, run) {
      for (let n = 0; n < frames; n++) {
        produced++;
        yield frame(n, "custom", "x".repeat(FRAME_BYTES));
      }
      yield { kind: "end", run };
    };
    const response = await app.call("POST", "/runs/stream", { json: BODY });
    await eventually(() => clock.sleepers() === 2, "a full connection");
    expect(produced).toBeLessThan(frames);
    const reader = await readAll(response);
    expect(reader.events()).toHaveLength(frames);
  });
});

it("a stream that breaks off is cut, not ended, so that the client comes back for the rest", async () => {
  fake.play = async function* () {
    yield frame(1, "metadata", {});
    throw new HoldpointError("unavailable", "the table is away");
  };
  const reader = await readAll(await app.call("POST", "/runs/stream", { json: BODY }));
  expect(reader.failure).toBeDefined();
  expect(app.log.lines.some(({ level, message }) => level === "error" && message === "a stream broke off")).toBe(true);
});

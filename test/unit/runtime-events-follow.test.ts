/** Reading along: from what is there to what comes, by any process, however many read, and however slowly. */
import { afterEach, describe, expect, it } from "vitest";
import type { Call } from "../../bench/support/counting-table.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { createSpeaker, read, remote, slowReader } from "./runtime-events-kit.ts";
import type { Reading, Speaker } from "./runtime-events-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const RETENTION_MS = 120_000;

const open: Disposable[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
});
const alongside = (runtime: Runtime, run: Run, after?: number | "now"): Reading => {
  const reading = read(runtime, run, after);
  open.push(reading);
  return reading;
};

/** An API process of its own: it shares the table with the others, and no memory. */
function anotherApi(kit: Kit): { readonly deps: Deps; readonly runtime: Runtime } {
  const deps = createDeps({ ...kit.deps });
  return { deps, runtime: createRuntime(deps) };
}

/** A run that a worker in another process has begun, and whose words the test says. */
async function begun(kit: Kit) {
  const speaker = createSpeaker();
  const run = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
  const { worker } = startProcess(kit, speaker);
  await until(kit, () => speaker.deliveries() === 1);
  const end = async (): Promise<void> => {
    speaker.end();
    await until(kit, async () => (await kit.deps.runs.get(run, run.runId))?.value.status === "success");
    await worker[Symbol.asyncDispose]();
  };
  return { speaker, run, end };
}

const words = (n: number): string[] => Array.from({ length: n }, (_, i) => `w${i}`);

async function sayAll(kit: Kit, { say }: Speaker, all: readonly string[], meanwhile?: () => void): Promise<void> {
  for (const word of all) {
    await say(word);
    kit.clock.advance(40);
    await settle();
    meanwhile?.();
  }
}

describe("readers that join while a worker elsewhere speaks", () => {
  const ALL = ["metadata", ...words(60), "success"];

  for (const [table, adapt] of [
    ["tells of changes", undefined],
    ["has to be polled", remote()],
  ] as const) {
    it(`get each frame once, whenever they come, on a table that ${table}`, async () => {
      const kit = createKit(adapt);
      const { speaker, run, end } = await begun(kit);
      const readings: Reading[] = [];
      await sayAll(kit, speaker, words(60), () => void readings.push(alongside(anotherApi(kit).runtime, run)));
      await end();
      readings.push(alongside(anotherApi(kit).runtime, run));
      await until(kit, () => readings.every(({ got }) => got.at(-1) === "success"), "the end of every reading");
      expect(readings).toHaveLength(61);
      for (const { got } of readings) expect(got).toEqual(ALL);
    });
  }

  it("go on at another process after the last one that they saw", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    const got: string[] = [];
    let reading = alongside(anotherApi(kit).runtime, run);
    let last = -1;
    const hop = (): void => {
      got.push(...reading.got);
      reading[Symbol.dispose]();
      last = reading.numbers.at(-1) ?? last;
      reading = alongside(anotherApi(kit).runtime, run, last);
    };
    for (let i = 0; i < 60; i += 5) {
      await sayAll(kit, speaker, words(60).slice(i, i + 5));
      hop();
    }
    await end();
    await until(kit, () => reading.got.at(-1) === "success");
    hop();
    expect(got).toEqual(ALL);
  });

  it("without a cursor get what comes from now on", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    await sayAll(kit, speaker, words(9));
    await pass(kit, 1000);
    const { got } = alongside(kit.runtime, run, "now");
    await settle();
    await sayAll(kit, speaker, ["more"]);
    await end();
    await until(kit, () => got.length === 2);
    expect(got).toEqual(["more", "success"]);
  });

  it("would miss the last ones if the end were looked for after them (negative control)", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    const { deps, runtime } = anotherApi(kit);
    // What it answers is what was there before it read that the run had ended.
    const now = { ...deps.events };
    let before = now.read(run, 0, 0);
    deps.events.read = (...at) => {
      const page = before;
      before = now.read(...at);
      return page;
    };
    const reading = alongside(runtime, run);
    await sayAll(kit, speaker, words(60));
    await end();
    await until(kit, () => reading.got.at(-1) === "success");
    expect(reading.got).not.toEqual(ALL);
  });
});

describe("a thread that many follow", () => {
  /** Calls of the table in a quiet minute, and for one frame, with so many readers at so many processes. */
  async function callsFor(readers: number, processes = 1) {
    const calls: (readonly Call[])[] = [];
    const kit = createKit(remote(calls));
    const { speaker, run, end } = await begun(kit);
    const apis = Array.from({ length: processes }, () => anotherApi(kit).runtime);
    const readings = apis.flatMap((api) => Array.from({ length: readers }, () => alongside(api, run)));
    await pass(kit, 5000);
    const mine = (): number =>
      calls.flat().filter(({ keys }) => keys.some((key) => key.startsWith("E#") || key === `R#${run.runId}`)).length;
    const counted = async (during: () => Promise<void>): Promise<number> => {
      const before = mine();
      await during();
      return mine() - before;
    };
    const widest = Math.max(...calls.flat().map(({ keys }) => keys.length));
    expect(widest, "keys of one call").toBeLessThan(10);
    const quiet = await counted(() => pass(kit, 60_000));
    const frame = await counted(async () => {
      await speaker.say("hello");
      await pass(kit, 5000);
    });
    expect(readings.every(({ got }) => got.at(-1) === "hello")).toBe(true);
    await end();
    return { quiet, frame };
  }

  it("is polled once, and read once for a frame, and not once for each of them", async () => {
    const [one, thousand] = [await callsFor(1), await callsFor(1000)];
    // The pace of polls has jitter, and the worker looks at its run each second.
    expect(Math.abs(thousand.quiet - one.quiet)).toBeLessThan(30);
    expect(Math.abs(thousand.frame - one.frame)).toBeLessThan(30);
  });

  it("is polled by each process for itself (negative control)", async () => {
    const [one, twenty] = [await callsFor(1), await callsFor(1, 20)];
    expect(twenty.quiet - one.quiet).toBeGreaterThan(19 * 15);
    expect(twenty.frame - one.frame).toBeGreaterThan(19 * 2);
  });

  it("costs one call a look, also before anything was said on it", async () => {
    const calls: (readonly Call[])[] = [];
    const kit = createKit(remote(calls));
    const run = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    alongside(anotherApi(kit).runtime, run);
    await pass(kit, 60_000);
    const before = calls.flat().length;
    await pass(kit, 60_000);
    const operations = calls
      .flat()
      .slice(before)
      .map(({ operation }) => operation);
    expect(new Set(operations)).toEqual(new Set(["batchGet"]));
  });

  it("shares no reading from before its end with who comes after it", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    const { runtime } = anotherApi(kit);
    const early = alongside(runtime, run);
    await pass(kit, 60_000);
    await speaker.say("last");
    speaker.end();
    for (let turn = 0; turn < 10; turn++) await settle();
    expect(early.got, "it is polled at its slowest").toEqual(["metadata"]);
    // It has come as far as the early one, which has found nothing after that.
    const late = alongside(runtime, run, early.numbers.at(-1));
    await settle();
    expect(late.got).toEqual(["last", "success"]);
    await end();
  });
});

describe("a reader that has stopped reading", () => {
  it("holds one page of a long log, however much more there is", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    // Each of these is a batch of its own.
    for (const word of words(300)) {
      await speaker.say(`${word} ${"x".repeat(25_000)}`);
      await settle();
    }
    await end();
    const { deps, runtime } = anotherApi(kit);
    let handedOut = 0;
    const original = { ...deps.events };
    deps.events.read = async (...at) => {
      const page = await original.read(...at);
      handedOut += page.frames.length;
      return page;
    };
    const readers = Array.from({ length: 100 }, () => slowReader(runtime, run));
    for (const reader of readers) await reader.one();
    await pass(kit, 10_000);
    expect(handedOut, "a page, which they share").toBe(8);
    await readers[0]?.rest();
    expect(handedOut, "who reads on (control)").toBeGreaterThanOrEqual(301);
    for (const reader of readers) await reader.leave();
  });

  it("is one of many at places of their own: few of them read at once, and what several hold of the log is held once", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    for (const word of words(60)) {
      await speaker.say(`${word} ${"x".repeat(25_000)}`);
      await settle();
    }
    await end();
    const { deps, runtime } = anotherApi(kit);
    let [now, most] = [0, 0];
    const held = new Map<number, Set<object>>();
    const original = { ...deps.events };
    deps.events.read = async (...at) => {
      most = Math.max(most, ++now);
      const page = await original.read(...at);
      await settle();
      now--;
      for (const { number, frame } of page.frames) held.set(number, (held.get(number) ?? new Set()).add(frame));
      return page;
    };
    const readers = Array.from({ length: 40 }, (_, n) => slowReader(runtime, run, n));
    await Promise.all(readers.map((reader) => reader.one()));
    expect(most, "those that are shared, and those that read for themselves").toBeLessThanOrEqual(4 + 8);
    expect(most).toBeGreaterThan(4);
    expect(held.size).toBeGreaterThan(40);
    expect([...held.values()].filter((copies) => copies.size > 1)).toEqual([]);
    for (const reader of readers) await reader.leave();
  });

  it("keeps nothing of what is said meanwhile, holds no run up, and gets it all when it goes on", async () => {
    const kit = createKit(remote());
    const { speaker, run, end } = await begun(kit);
    const { deps, runtime } = anotherApi(kit);
    const slow = slowReader(runtime, run);
    await slow.one();
    let asked = 0;
    const original = { ...deps.events };
    deps.events.read = (...at) => {
      asked++;
      return original.read(...at);
    };
    await sayAll(kit, speaker, words(200));
    await end();
    await pass(kit, 10_000);
    expect(asked, "readings while it does not read").toBe(0);
    await slow.rest();
    expect(slow.got).toEqual(["metadata", ...words(200), "success"]);
  });

  it("is told what it has missed when it goes on after that has expired", async () => {
    const kit = createKit(remote(), { limits: { eventRetentionMs: RETENTION_MS } });
    const { speaker, run, end } = await begun(kit);
    const slow = slowReader(anotherApi(kit).runtime, run);
    await slow.one();
    await sayAll(kit, speaker, words(20));
    await pass(kit, RETENTION_MS);
    await sayAll(kit, speaker, ["late"]);
    await end();
    // The next look finds that the run has ended.
    await pass(kit, 5000);
    await slow.rest();
    expect(slow.got).toEqual(["metadata", "truncated", "late", "success"]);
  });
});

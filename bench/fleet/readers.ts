/**
 * Thousands of readers of one run, on a real API process (SQLite): the memory that it takes at most while the run says more
 * than the kernel keeps for those who read nothing. Every other reader is one of those; all others must get every frame.
 *
 * All are connected before a worker is started, so that they hear the run from its first frame on.
 */
import { execFile } from "node:child_process";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { report, shown } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { openEngine, openFleet } from "./fleet.ts";
import { inLanes, newThreadId } from "./runs.ts";

const LINE = {
  name: "readers",
  about:
    "Thousands of readers of one run, half of whom read nothing: memory of the API process at most, and frames that were missed. Published as it stands.",
  options: {
    readers: { fallback: 2000, says: "readers; every other one reads nothing" },
    frames: { fallback: 1000, says: "frames that the run says: together more than the kernel keeps for a connection" },
    "frame-kb": { fallback: 8, says: "KB of each" },
    "pause-ms": { fallback: 10, says: "milliseconds before each" },
    heedless: { fallback: 0, says: "1: the process does not heed readers that are full, as a control" },
  },
} as const;

interface Reading {
  readonly readers: number;
  readonly frames: number;
  readonly frameKb: number;
  readonly pauseMs: number;
  /** Negative control: whoever writes is told that every reader has taken everything. */
  readonly heedless: boolean;
}

interface Read {
  /** Of the API process, in MB: before the first reader, with all of them connected, and at most. */
  readonly idleMb: number;
  readonly connectedMb: number;
  readonly mostMb: number;
  /** Frames that those who read did not get. */
  readonly missed: number;
  /** From the start of the worker until the last of those who read had the end. */
  readonly seconds: number;
}

/** Beyond what the process has without readers: for each of them, whatever the run says, and for the frames under way. */
const BAR_MB = { each: 0.25, frames: 64 } as const;
const barMb = ({ readers }: Reading): number => BAR_MB.frames + BAR_MB.each * readers;

/** Prints the memory, and answers 1 when it is too much, or anybody missed anything. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { readers, frames, "frame-kb": frameKb, "pause-ms": pauseMs } = values;
  const reading = { readers, frames, frameKb, pauseMs, heedless: values.heedless === 1 };
  const { idleMb, connectedMb, mostMb, missed, seconds } = await read(reading);
  return report([
    { what: "memory without readers", value: idleMb, unit: "MB" },
    { what: `  with ${readers} readers, before the first frame`, value: connectedMb, unit: "MB" },
    { what: "  at most", value: mostMb, unit: "MB" },
    { what: "  more than without readers", value: mostMb - idleMb, unit: "MB", bar: { atMost: barMb(reading) } },
    { what: "frames that those who read missed", value: missed, unit: "", bar: { atMost: 0 } },
    { what: `until they had ${shown((frames * frameKb) / 1024, "MB")} each`, value: seconds, unit: "s" },
  ]);
}

const LANES = 20;
const SAMPLE_MS = 100;
const END_MS = 600_000;
const HEEDLESS = `data:text/javascript,${encodeURIComponent(`
  import { ServerResponse } from "node:http";
  Object.defineProperty(ServerResponse.prototype, "writableNeedDrain", { get: () => false });
`)}`;

/** Has one run read by so many. @throws Error when somebody who reads does not come to the end */
async function read({ readers, frames, frameKb, pauseMs, heedless }: Reading): Promise<Read> {
  await using engine = await openEngine("sqlite");
  await using fleet = await openFleet({ engine });
  const api = fleet.start({ role: "api", env: heedless ? { NODE_OPTIONS: `--import=${HEEDLESS}` } : {} });
  const { url = "" } = await api.ready;
  const idleMb = await memoryMb(api.pid);
  const path = await accept(url, { frames, pauseMs, bytes: frameKb * 1024 });
  await using stack = new AsyncDisposableStack();
  const reading: Promise<number>[] = [];
  const progress = createProgress("readers", readers);
  let connected = 0;
  await inLanes(readers, LANES, async (n) => {
    const reader = stack.use(await openReader(url, path));
    if (n % 2 === 0) reading.push(reader.frames());
    progress(++connected);
  });
  const connectedMb = await memoryMb(api.pid);
  const began = performance.now();
  const all = Promise.all(reading);
  const watched = mostMemory(api.pid, all);
  await fleet.startWorkers(1);
  const counts = await all;
  const seconds = (performance.now() - began) / 1000;
  const missed = counts.reduce((sum, count) => sum + frames - count, 0);
  return { idleMb, connectedMb, mostMb: await watched, missed, seconds };
}

/** Has a run accepted; answers the path of its stream. */
async function accept(
  url: string,
  input: { readonly frames: number; readonly pauseMs: number; readonly bytes: number },
) {
  const thread = newThreadId();
  const body = { assistant_id: "speaking", input, stream_mode: ["custom"], if_not_exists: "create" };
  const answer = await fetch(`${url}/threads/${thread}/runs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const { run_id: run } = (await answer.json()) as { readonly run_id: string };
  return `/threads/${thread}/runs/${run}/stream`;
}

interface Reader extends Disposable {
  /** Reads to the end; how many frames there were. Who never asks has a reader that takes nothing. */
  frames(): Promise<number>;
}

/** Nothing of a library's own buffers: a socket, paused from its first answer on. */
async function openReader(url: string, path: string): Promise<Reader> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n`);
  const head = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString("utf8"))));
  socket.pause();
  if (!head.startsWith("HTTP/1.1 200")) throw new Error(`a reader was answered ${head.slice(0, 200)}`);
  return { frames: () => countFrames(socket), [Symbol.dispose]: () => void socket.destroy() };
}

const MARK = Buffer.from("event: custom");

function countFrames(socket: Socket): Promise<number> {
  let count = 0;
  let rest = Buffer.alloc(0);
  socket.on("data", (data) => {
    const text = Buffer.concat([rest, data]);
    for (let at = text.indexOf(MARK); at >= 0; at = text.indexOf(MARK, at + MARK.length)) count += 1;
    // A mark that is cut in two begins in here, and a whole one does not fit.
    rest = Buffer.from(text.subarray(Math.max(0, text.length - MARK.length + 1)));
  });
  const ended = new Promise<number>((resolve) => socket.once("close", () => resolve(count)));
  socket.resume();
  return ended;
}

async function mostMemory(pid: number, until: Promise<unknown>): Promise<number> {
  const over = new AbortController();
  const end = (): void => over.abort();
  until.then(end, end);
  let most = 0;
  for (const began = performance.now(); !over.signal.aborted; await sleep(SAMPLE_MS)) {
    most = Math.max(most, await memoryMb(pid));
    if (performance.now() - began > END_MS) throw new Error(`not everybody had the end in ${END_MS} ms`);
  }
  return most;
}

/** Resident memory of a process, in MB. */
async function memoryMb(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "rss=", "-p", String(pid)]);
  return Number(stdout.trim()) / 1024;
}

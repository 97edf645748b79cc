/** What must hold of the image, seen on a container of it. */
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Image } from "./build.ts";
import { startContainer } from "./container.ts";
import type { Container } from "./container.ts";

export interface Check {
  readonly what: string;
  readonly found: string;
  readonly holds: boolean;
}

const MOST_MB = 250;
const MOST_READY_MS = 2000;
const PATIENCE_MS = 60_000;
const PORT = 18_080;
const URL_OF = `http://127.0.0.1:${PORT}`;

const check = (what: string, found: string | number, holds: boolean): Check => ({ what, found: String(found), holds });

/** One that is slow may be the machine's other work; more of them are not. */
const STARTS = 5;
const ENV = { HOLDPOINT_HOST: "127.0.0.1", HOLDPOINT_PORT: String(PORT) };

/** Of an odd number. */
export const medianOf = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Starts containers and puts every question to the last one. @throws Error when one does not become ready */
export async function checkImage(image: Image): Promise<readonly Check[]> {
  const starts: number[] = [];
  for (let n = 1; n < STARTS; n++) {
    await using container = await startContainer({ image, env: ENV });
    starts.push(await untilReady(container));
  }
  await using container = await startContainer({ image, env: ENV });
  starts.push(await untilReady(container));
  const sizeMb = image.bytesOnTop / 1e6;
  const shown = starts.map((ms) => ms.toFixed(0)).join(", ");
  return [
    check("size on top of its base, MB", sizeMb.toFixed(0), sizeMb < MOST_MB),
    check("ready after ms, of which the median counts", shown, medianOf(starts) < MOST_READY_MS),
    ...(await confined(container, image)),
    ...(await healthy(container, image)),
    ...(await working(container)),
  ];
}

/** Milliseconds from now. */
async function untilReady(container: Container): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < PATIENCE_MS) {
    const answer = await fetch(`${URL_OF}/ready`).catch(() => undefined);
    if (answer?.status === 200) return performance.now() - began;
    await sleep(10);
  }
  throw new Error(`the container did not become ready: ${container.lines()}`);
}

/** A script for Node, and the end of what it printed. */
async function node(container: Container, script: string): Promise<string> {
  const { output } = await container.exec(["node", "-e", script]);
  return /E[A-Z]{3,}|done/.exec(output)?.[0] ?? output.trim();
}

const writing = (path: string): string =>
  `require("node:fs").writeFileSync(${JSON.stringify(path)}, ""); console.log("done")`;

async function confined(container: Container, image: Image): Promise<readonly Check[]> {
  const status = await container.status();
  const of = (name: string): string => status.get(name) ?? "";
  const [root, data] = [
    await node(container, writing("/app/dist/x")),
    await node(container, writing("/var/lib/holdpoint/x")),
  ];
  const cache = await compileCache(container, image);
  return [
    check("user", of("Uid").split(/\s/)[0] ?? "", of("Uid").startsWith("10001")),
    check("capabilities", of("CapEff"), /^0+$/.test(of("CapEff"))),
    check("no new privileges", of("NoNewPrivs"), of("NoNewPrivs") === "1"),
    check("first process of its container", of("NSpid").split(/\s/).at(-1) ?? "", /\s1$/.test(of("NSpid"))),
    check("writing to its root", root, root === "EROFS"),
    check("writing to its data", data, data === "done"),
    check("compiled code is read from", cache, cache === "/app/compile-cache"),
    check("memory once ready", of("VmRSS"), of("VmRSS").endsWith("kB")),
  ];
}

async function healthy(container: Container, { config }: Image): Promise<readonly Check[]> {
  const [kind, ...command] = config.Healthcheck.Test;
  const asked = async (env: Readonly<Record<string, string>>): Promise<number> =>
    (await container.exec(command, env)).code;
  const [up, elsewhere, worker] = [
    await asked({ HOLDPOINT_PORT: String(PORT) }),
    // Where nobody listens: a check that cannot fail checks nothing.
    await asked({ HOLDPOINT_PORT: "9" }),
    await asked({ HOLDPOINT_PORT: "9", HOLDPOINT_ROLE: "worker" }),
  ];
  return [
    check("health check, as a command without a shell", kind ?? "", kind === "CMD"),
    check("its exit code while the service answers", up, up === 0),
    check("where nobody answers", elsewhere, elsewhere === 1),
    check("of a worker, which serves nobody", worker, worker === 0),
  ];
}

/** Where Node looks for what it compiled before; the folder's name has its version. */
async function compileCache(container: Container, { config }: Image): Promise<string> {
  const flags = config.Entrypoint.filter((one) => one.startsWith("--"));
  const { output } = await container.exec(["node", ...flags, "-p", 'require("node:module").getCompileCacheDir()']);
  return dirname(output.trim());
}

/** Asked to end in the middle of a run. */
async function working(container: Container): Promise<readonly Check[]> {
  const first = await run("/runs/wait");
  const second = await run("/runs");
  const code = await container.stop();
  return [
    check("a run, status", first, first === 200),
    check("another that is accepted", second, second === 200),
    check("exit code after SIGTERM", code, code === 0),
  ];
}

async function run(path: string): Promise<number> {
  const body = { assistant_id: "tool-agent", input: { messages: [{ role: "user", content: "Hello" }] } };
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${URL_OF}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  await answer.text();
  return answer.status;
}

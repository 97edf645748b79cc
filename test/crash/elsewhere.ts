/**
 * For `node --import`: a process that believes it runs on another machine, whose wall clock is wrong. Its monotonic clocks
 * are the true ones. The seams are what Node reads the host name and the time from.
 */
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";

const HOST_VARIABLE = "HOLDPOINT_TEST_HOST";
const SHIFT_VARIABLE = "HOLDPOINT_TEST_CLOCK_SHIFT_MS";

/** Environment of such a process; `nodeOptions` are what it is given besides. */
export const elsewhereEnv = (host: string, shiftMs: number, nodeOptions: string): Readonly<Record<string, string>> => ({
  [HOST_VARIABLE]: host,
  [SHIFT_VARIABLE]: String(shiftMs),
  NODE_OPTIONS: `${nodeOptions} --import=${import.meta.url}`,
});

function moveTo(host: string, shiftMs: number): void {
  os.hostname = () => host;
  syncBuiltinESMExports();
  const TrueDate = Date;
  const now = (): number => TrueDate.now() + shiftMs;
  globalThis.Date = new Proxy(TrueDate, {
    construct: (target, args: [], newTarget: typeof Date) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
    get: (target, name, receiver) => (name === "now" ? now : (Reflect.get(target, name, receiver) as unknown)),
  });
}

const host = process.env[HOST_VARIABLE];
if (host !== undefined && process.env["NODE_OPTIONS"]?.includes(import.meta.url) === true)
  moveTo(host, Number(process.env[SHIFT_VARIABLE]));

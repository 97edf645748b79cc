/** Processes of their own, which can die: what one has begun on the table may land, and it never hears of it. */
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Kit } from "./runtime-kit.ts";

export interface Process {
  readonly deps: Deps;
  readonly worker: Worker;
  kill(): void;
}

/** Of a process that shares nothing with others but the table and the time. */
function mortalDeps(kit: Kit): { readonly deps: Deps; readonly kill: () => void } {
  let isDead = false;
  const never = new Promise<never>(() => undefined);
  const mortal = async <T>(call: () => Promise<T>): Promise<T> => {
    if (isDead) return never;
    const answer = await call();
    return isDead ? never : answer;
  };
  const { table } = kit;
  const own: Table = {
    ...table,
    get: (...args) => mortal(() => table.get(...args)),
    put: (...args) => mortal(() => table.put(...args)),
    remove: (...args) => mortal(() => table.remove(...args)),
    query: (...args) => mortal(() => table.query(...args)),
    queryIndex: (...args) => mortal(() => table.queryIndex(...args)),
    batchGet: (...args) => mortal(() => table.batchGet(...args)),
    batchPut: (...args) => mortal(() => table.batchPut(...args)),
  };
  return { deps: createDeps({ ...kit.deps, table: own }), kill: () => void (isDead = true) };
}

/** A started worker. */
export function startProcess(kit: Kit, engine?: Partial<Engine>, on?: Partial<Deps>): Process {
  const { deps: own, kill } = mortalDeps(kit);
  const deps = { ...own, ...on };
  const worker = kit.worker(engine, deps);
  worker.start();
  return { deps, worker, kill };
}

/** An API process. */
export function startApi(kit: Kit): { readonly runtime: Runtime; readonly kill: () => void } {
  const { deps, kill } = mortalDeps(kit);
  return { runtime: createRuntime(deps), kill };
}

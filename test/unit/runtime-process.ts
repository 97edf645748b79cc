/** A worker in a process of its own, which can die: what it has begun on the table may land, and it never hears of it. */
import { createDeps } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Kit } from "./runtime-kit.ts";

export interface Process {
  readonly deps: Deps;
  readonly worker: Worker;
  kill(): void;
}

/** A started worker that shares nothing with others but the table and the time. */
export function startProcess(kit: Kit, engine?: Partial<Engine>, on?: Partial<Deps>): Process {
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
  const deps = { ...createDeps({ ...kit.deps, table: own }), ...on };
  const worker = kit.worker(engine, deps);
  worker.start();
  return { deps, worker, kill: () => void (isDead = true) };
}

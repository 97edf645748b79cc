/** How one table call of a process travels: there, its effect at one instant, and back. */
import { HoldpointError } from "../../src/core/errors.ts";
import type { Key } from "../../src/storage/table.ts";
import type { Chaos } from "./chaos.ts";
import type { Fault, Tally } from "./faults.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";

/** A call on its way to the table. */
export interface TableCall<T> {
  readonly kind: "write" | "batch" | "read" | "poll";
  /** What it asks for, for people. */
  readonly name: string;
  /** The items it may change or read. Empty: more than can be named. */
  readonly keys: readonly Key[];
  /** Lets it take effect, now. `fault`: what befalls it, where that changes the effect. */
  readonly effect: (fault: Fault) => Promise<T>;
}

/** Carries the calls of one process. What it returns never settles once the process is dead. */
export type Courier = <T>(call: TableCall<T>) => Promise<T>;

export interface CourierOptions {
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
  readonly tally: Tally;
  readonly onCrash: (process: SimProcess) => void;
  /** A process stands still, or waits for one call, for so long. */
  readonly onDelay: (process: SimProcess, kind: "frozen" | "stalled", ms: number) => void;
  /** Calls of one process are named here, in the order in which they are made. */
  readonly trace?: (line: string) => void;
  /** Freezes beyond this count as long. */
  readonly leaseMs: number;
}

/** Every delay, and whatever goes wrong on the way, is drawn by `Chaos`. */
export function createCourier(options: CourierOptions, process: SimProcess): Courier {
  const { scheduler, chaos, tally, trace } = options;
  let [calls, writes, all] = [0, 0, 0];
  return (call) => {
    if (!process.alive) return new Promise(() => {});
    const number = ++all;
    const isWrite = call.kind === "write" || call.kind === "batch";
    const fault = chaos.draw({
      process: process.name,
      kind: call.kind,
      write: isWrite ? ++writes : undefined,
      call: call.kind === "poll" ? undefined : ++calls,
    });
    trace?.(`${process.name} #${number} ${call.name}${fault.kind === "none" ? "" : ` (${describeFault(fault)})`}`);
    if (chaos.isSlow(process.name)) tally.count(process.name.startsWith("api") ? "a slow API" : "a slow worker");
    return new Promise((resolve, reject) => {
      const letter = { call, fault, resolve, reject };
      if (fault.kind === "slow") tally.count("a slow call");
      const delay = travel(options, process, fault.kind === "slow" ? fault.ms : 0);
      const arrival = (): void => arrive(options, process, letter);
      if (fault.kind === "crash" && fault.when === "before") return crash(options, process, fault.when);
      if (fault.kind === "freeze" && fault.when === "before") {
        freeze(options, process, fault);
        return void scheduler.after(0, () => void scheduler.after(delay, arrival), process);
      }
      scheduler.after(delay, arrival);
    });
  };
}

/** How long one way takes; one that takes long is a delay of the whole process, as far as others can tell. */
function travel({ chaos, onDelay, leaseMs }: CourierOptions, process: SimProcess, more = 0): number {
  const ms = chaos.latency(process.name) + more;
  if (more > 0 || ms > leaseMs / 10) onDelay(process, "stalled", ms);
  return ms;
}

interface Letter<T> {
  readonly call: TableCall<T>;
  readonly fault: Fault;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (error: unknown) => void;
}

function arrive<T>(options: CourierOptions, process: SimProcess, { call, fault, resolve, reject }: Letter<T>): void {
  const { scheduler, tally } = options;
  const delay = (): number => travel(options, process);
  const answer = (settle: () => void, ms = 0): void => void scheduler.after(ms + delay(), settle, process);
  const refuse = (ms = 0): void =>
    answer(() => reject(new HoldpointError("unavailable", "the table is away (simulated)")), ms);
  const settled = (result: Promise<T>): (() => void) => {
    result.catch(() => undefined);
    return () => void result.then(resolve, reject);
  };
  switch (fault.kind) {
    case "unavailable":
      tally.count(unavailableName(fault));
      refuse(fault.ms);
      if (fault.applied === "before") settled(call.effect(fault));
      if (fault.applied === "later") scheduler.after(fault.ms + delay(), () => void settled(call.effect(fault)));
      return;
    case "partial-batch":
      tally.count("part of a batch applied, then unavailable");
      settled(call.effect(fault));
      return refuse();
    case "crash":
      settled(call.effect(fault));
      return crash(options, process, "after");
    case "lost-reply": {
      tally.count("applied, its reply lost and repeated");
      settled(call.effect(fault));
      const again = (): void => answer(settled(call.effect(fault)));
      return void scheduler.after(fault.retryMs, () => void scheduler.after(delay(), again), process);
    }
    case "freeze": {
      const settle = settled(call.effect(fault));
      if (fault.when === "after") freeze(options, process, fault);
      return answer(settle);
    }
    case "index":
    case "slow":
    case "none":
      return answer(settled(call.effect(fault)));
  }
}

function crash({ tally, onCrash }: CourierOptions, process: SimProcess, when: "before" | "after"): void {
  tally.count(`killed ${when} a call took effect`);
  process.kill();
  onCrash(process);
}

function freeze(
  { tally, onDelay, leaseMs }: CourierOptions,
  process: SimProcess,
  { when, ms }: Extract<Fault, { readonly kind: "freeze" }>,
): void {
  tally.count(`frozen ${when} a call took effect`);
  if (ms > 2 * leaseMs) tally.count("frozen for more than two leases");
  process.freeze(ms);
  onDelay(process, "frozen", ms);
}

function unavailableName({ applied, ms }: Extract<Fault, { readonly kind: "unavailable" }>) {
  if (applied === "before") return "applied, then timed out";
  if (applied === "later") return "timed out, then applied";
  return ms === 0 ? "throttled" : "timed out, never applied";
}

function describeFault({ kind, ...rest }: Fault): string {
  const details = Object.values<unknown>(rest).map((value) =>
    typeof value === "number" ? `${Math.round(value)} ms` : String(value),
  );
  return [kind, ...details].join(" ");
}

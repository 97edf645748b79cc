/** Plans in which everybody wants the same thing at the same time. */
import type { MultitaskStrategy } from "../../src/core/run.ts";
import { drawPlan } from "./plan.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Script, Task } from "./script.ts";

const THREAD = "00000000-0000-4000-8000-000000000001";

/**
 * Reviews that need one person or two, that expire or are asked again with other content, callbacks that are given up,
 * timers, effects whose outcome may be unknown, and code that fails; on one thread, with reviewers, other systems and
 * operators who are about as quick as all of that.
 */
export function drawRaces(random: Random): Plan {
  const scripts = Array.from({ length: 2 + random.int(2) }, (_, n) => drawRace(random, n));
  return {
    ...drawPlan(random),
    threads: [THREAD],
    starts: scripts.map((script, n) => ({
      atMs: n * random.int(150),
      thread: THREAD,
      tag: `run-${n}`,
      strategy: random.pick<MultitaskStrategy>(["enqueue", "enqueue", "enqueue", "interrupt", "rollback"]),
      script,
      watched: random.pick(["no", "no", "followed", "waited for"] as const),
      ...(random.chance(0.1) ? { cancelsPending: true } : {}),
    })),
    reviewers: ["eve", "bob", "cleo"].slice(0, 1 + random.int(3)),
    resumer: random.chance(0.15),
    cancels: random.int(3),
    updates: random.int(2),
    drains: random.chance(0.2) ? 1 : 0,
    pauseMs: 40,
    troubleMs: 1500,
    races: {
      callers: random.int(3),
      operators: ["olga", "omar"].slice(0, random.int(3)),
      operatorsStayMs: random.chance(0.3) ? 8_000 : 500,
    },
  };
}

function drawRace(random: Random, n: number): Script {
  const steps = Array.from({ length: 1 + random.int(3) }, (_, pc) =>
    Array.from({ length: random.chance(0.5) ? 2 : 1 }, (_unused, i) => drawTask(random, `${n}.${pc}.${i}`)),
  );
  return random.chance(0.25) ? [...steps, [{ do: "fail" }]] : steps;
}

function drawTask(random: Random, place: string): Task {
  const kind = random.int(16);
  if (kind < 7) {
    return {
      do: "review",
      shown: place,
      fails: random.chance(0.1),
      wavers: random.chance(0.2),
      ...(random.chance(0.4) ? { quorum: 2 + random.int(2) } : {}),
      ...(random.chance(0.4) ? { dueInMs: random.int(500) } : {}),
    };
  }
  if (kind < 10) return { do: "callback", timeoutMs: 20 + random.int(600) };
  if (kind < 11) return { do: "timer", ms: random.int(400) };
  if (kind < 15) {
    return {
      do: "effect",
      name: `pay-${place}`,
      policy: random.pick(["idempotent", "unsafe", "unsafe", "unsafe"] as const),
      irreversible: random.chance(0.4),
      ms: random.int(300),
    };
  }
  return random.chance(0.5) ? { do: "ask" } : { do: "step", ms: random.int(30) };
}

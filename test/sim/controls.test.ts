/**
 * Negative controls: the simulation with one protection taken away. If the checker found nothing then, finding nothing
 * with the protection in place would mean nothing.
 */
import { describe, expect, it } from "vitest";
import { isEnded } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { CALM } from "./chaos.ts";
import type { Profile } from "./chaos.ts";
import { drawTimed } from "./plan.ts";
import { simulate } from "./simulate.ts";
import type { Options } from "./simulate.ts";

/** Far more than any of them has needed. */
const SCHEDULES = 2000;

interface Control {
  readonly off: string;
  readonly options: Pick<Options, "control" | "adapt" | "profile" | "plan">;
}

/** Each control is run where it matters: replies that get lost, processes that freeze with a write in hand. */
const LOSSY: Profile = { ...CALM, lostReply: 0.3 };
const FREEZING: Profile = { ...CALM, freeze: 0.1, budget: 6, slow: 0.05 };

const CONTROLS: readonly Control[] = [
  {
    off: "a write whose reply was lost is recognised by its id",
    options: { control: "forget-write-ids", profile: LOSSY },
  },
  {
    off: "a decided hold is due until its continuation is queued",
    options: {
      adapt: (deps) => ({
        ...deps,
        holds: { ...deps.holds, put: (hold, when) => deps.holds.put({ ...hold, followUpDue: false }, when) },
      }),
    },
  },
  {
    off: "a cancelled hold is due until the header does not wait for it any more",
    options: {
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          update: (ref, id, change) =>
            deps.holds.update(ref, id, (hold) => {
              const next = change(hold);
              return next?.state === "cancelled" ? { ...next, followUpDue: false } : next;
            }),
        },
      }),
    },
  },
  {
    off: "a decision is on the record before its follow-up is over, and before it is handed over",
    options: {
      adapt: (deps) => ({
        ...deps,
        // Beside it, as it were: lost with the process.
        audit: {
          ...deps.audit,
          record: async (entry) =>
            void deps.clock.sleep(50).then(() => deps.audit.record(entry).catch(() => undefined)),
        },
      }),
    },
  },
  {
    off: "a decision is conditional on the hold as it was read",
    options: {
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          put: async (hold, when) =>
            deps.holds.put(hold, when === "absent" ? when : await versionOf(deps.holds.get(hold, hold.holdId), when)),
        },
      }),
    },
  },
  {
    off: "what is due is so by the table's time, and not by the machine's",
    options: {
      plan: drawTimed,
      adapt: (deps) => ({ ...deps, table: { ...deps.table, now: () => deps.clock.wall() } }),
    },
  },
  {
    off: "what time decides is conditional on the hold as it was read",
    options: {
      plan: drawTimed,
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          put: async (hold, when) =>
            deps.holds.put(
              hold,
              when === "absent" || hold.decision?.cause !== "time"
                ? when
                : await versionOf(deps.holds.get(hold, hold.holdId), when),
            ),
        },
      }),
    },
  },
  {
    off: "a hold whose time has come is found by its own row",
    options: {
      plan: drawTimed,
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          put: (hold, when) => {
            const { times: _, ...forgotten } = hold;
            return deps.holds.put(hold.origin === "timer" ? forgotten : hold, when);
          },
        },
      }),
    },
  },
  {
    off: "a timer that has fired is due until its run is awake",
    options: {
      plan: drawTimed,
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          put: (hold, when) =>
            deps.holds.put(hold.decision?.cause === "time" ? { ...hold, followUpDue: false } : hold, when),
        },
      }),
    },
  },
  { off: "the header is released as it is now, not as it is remembered", options: { adapt: releaseByMemory } },
  {
    off: "a header write is conditional on the header as it was read",
    options: {
      adapt: (deps) => ({
        ...deps,
        threads: {
          ...deps.threads,
          put: async (thread, when) =>
            deps.threads.put(thread, when === "absent" ? when : await versionOf(deps.threads.get(thread), when)),
        },
      }),
    },
  },
  {
    off: "the end of a run is conditional on the run as it was read",
    options: {
      profile: FREEZING,
      adapt: (deps) => ({
        ...deps,
        runs: {
          ...deps.runs,
          put: async (run, version) =>
            deps.runs.put(
              run,
              isEnded(run.status) ? ((await deps.runs.get(run, run.runId))?.version ?? version) : version,
            ),
        },
      }),
    },
  },
  {
    off: "a holder that finds events of a later one is lost",
    options: {
      profile: FREEZING,
      adapt: (deps) => ({
        ...deps,
        events: {
          ...deps.events,
          end: async (ref, generation) => ({ ...(await deps.events.end(ref, generation)), fence: 0 }),
        },
      }),
    },
  },
];

/** The version that the item has now: a condition that is always met. */
async function versionOf(
  reading: Promise<{ readonly version: number } | undefined>,
  when: { readonly version: number },
): Promise<{ readonly version: number }> {
  return { version: (await reading)?.version ?? when.version };
}

/** A change of a header is computed from what the caller remembers and put over whatever is there. */
function releaseByMemory(deps: Deps): Deps {
  const { threads } = deps;
  return {
    ...deps,
    threads: {
      ...threads,
      async update(ref, change, known) {
        const before = known ?? (await threads.get(ref));
        const next = before && change(before.value);
        if (!next) return before;
        const now = await threads.get(ref);
        const written = now && (await threads.put(next, { version: now.version }));
        return written?.won === true ? written.stored : written?.current;
      },
    },
  };
}

describe("the simulation sees it when this protection is missing:", () => {
  it.each(CONTROLS)("$off", { timeout: 120_000 }, async ({ options }) => {
    for (let seed = 0; seed < SCHEDULES; seed++) {
      const { violations } = await simulate({ seed, ...options });
      const [first] = violations;
      if (!first) continue;
      console.log(`seed ${seed}: ${first.invariant}: ${first.what.slice(0, 200)}`);
      return;
    }
    expect.fail(`no violation in ${SCHEDULES} schedules`);
  });
});

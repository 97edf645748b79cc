/**
 * Negative controls: the simulation with one protection taken away. If the checker found nothing then, finding nothing
 * with the protection in place would mean nothing.
 */
import { describe, expect, it } from "vitest";
import type { Hold } from "../../src/core/hold.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Holds } from "../../src/storage/holds.ts";
import type { Stored } from "../../src/storage/records.ts";
import { CALM } from "./chaos.ts";
import type { Profile } from "./chaos.ts";
import { drawRaces } from "./plan-races.ts";
import { drawContested, drawTimed } from "./plan.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
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

const CRASHING: Profile = { ...CALM, crash: 0.1, budget: 3 };

/** Several questions at once, which nobody answers. */
const drawAsking = (random: Random): Plan => ({
  ...drawContested(random),
  starts: drawContested(random)
    .starts.slice(0, 1)
    .map((start) => ({
      ...start,
      script: [["a", "b", "c", "d"].map((shown) => ({ do: "review" as const, shown }))],
    })),
  reviewers: [],
  cancels: 0,
  updates: 0,
});

/** Effects that take long, and two operators who look for those that nobody knows the outcome of. */
const drawDoubtful = (random: Random): Plan => ({
  ...drawAsking(random),
  starts: drawAsking(random).starts.map((start) => ({
    ...start,
    script: [0, 1, 2].map((n) => [{ do: "effect", name: `pay-${n}`, policy: "unsafe", ms: 300 }] as const),
  })),
  pauseMs: 10,
  races: { callers: 0, operators: ["olga", "omar"], operatorsStayMs: 0 },
});

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
    options: { adapt: (deps) => blindly(deps, () => true) },
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
    options: { plan: drawTimed, adapt: (deps) => blindly(deps, (hold) => hold.decision?.cause === "time") },
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
  {
    off: "a hold is not raised anew by a holder of a lower fence",
    options: {
      plan: drawAsking,
      profile: FREEZING,
      adapt: (deps) => ({
        ...deps,
        holds: {
          ...deps.holds,
          async put(hold, when) {
            const written = await deps.holds.put(hold, when);
            if (written.won || !written.current || hold.state !== "pending") return written;
            const { handedTo: _, ...before } = written.current.value;
            return { won: false, current: { ...written.current, value: { ...before, fence: hold.fence - 1 } } };
          },
        },
      }),
    },
  },
  {
    off: "nobody has two votes on a review",
    options: { plan: drawRaces, adapt: (deps) => ({ ...deps, holds: withVotersUnknown(deps.holds) }) },
  },
  {
    off: "a vote is conditional on the hold as it was read",
    options: {
      plan: drawRaces,
      adapt: (deps) => blindly(deps, (hold) => (hold.votes ?? []).length > 0 && hold.state === "pending"),
    },
  },
  {
    off: "the answer of a callback is conditional on the hold as it was read",
    options: {
      plan: drawRaces,
      adapt: (deps) => blindly(deps, (hold) => hold.decision?.bodyDigest !== undefined && hold.followUpDue),
    },
  },
  {
    off: "a callback that was given up is not answered any more",
    options: {
      plan: drawRaces,
      adapt: (deps) => blindly(deps, (hold) => hold.origin === "callback" && hold.decision?.cause === "time"),
    },
  },
  {
    off: "what an effect came to is not overwritten by the next intent",
    options: {
      plan: drawRaces,
      adapt: (deps) => ({
        ...deps,
        effects: {
          ...deps.effects,
          async put(entry, when) {
            const { tenant, root, token } = entry;
            const there = when === "absent" ? await deps.effects.get(tenant, root, token) : undefined;
            return deps.effects.put(entry, there ? { version: there.version } : when);
          },
        },
      }),
    },
  },
  {
    off: "a word on an effect is conditional on the entry as it was read",
    options: {
      plan: drawDoubtful,
      profile: CRASHING,
      adapt: (deps) => ({
        ...deps,
        effects: {
          ...deps.effects,
          put: async (entry, when) =>
            deps.effects.put(
              entry,
              when === "absent" || !entry.followUp
                ? when
                : await versionOf(deps.effects.get(entry.tenant, entry.root, entry.token), when),
            ),
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

/** Writes of these holds go over whatever is there. */
function blindly(deps: Deps, isMeant: (hold: Hold) => boolean): Deps {
  const { holds } = deps;
  return {
    ...deps,
    holds: {
      ...holds,
      put: async (hold, when) =>
        holds.put(
          hold,
          when === "absent" || !isMeant(hold) ? when : await versionOf(holds.get(hold, hold.holdId), when),
        ),
    },
  };
}

/** Whoever reads a hold finds votes of people whom nobody is; what is written has their names again. */
function withVotersUnknown(holds: Holds): Holds {
  const renamed = (hold: Hold, name: (by: string) => string): Hold =>
    hold.votes ? { ...hold, votes: hold.votes.map((vote) => ({ ...vote, by: name(vote.by) })) } : hold;
  const masked = (stored: Stored<Hold>): Stored<Hold> => ({
    ...stored,
    value: renamed(stored.value, (by) => `masked ${by}`),
  });
  const plain = (hold: Hold): Hold => renamed(hold, (by) => by.replace("masked ", ""));
  return {
    ...holds,
    async get(ref, id) {
      const stored = await holds.get(ref, id);
      return stored && masked(stored);
    },
    async put(hold, when) {
      const written = await holds.put(plain(hold), when);
      if (written.won) return { ...written, stored: masked(written.stored) };
      return written.current ? { ...written, current: masked(written.current) } : written;
    },
  };
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

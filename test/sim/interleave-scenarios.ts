/** What the clients of a search want: few and short, so that of some every interleaving can be executed, and of all many. */
import { accepting, cancelling, deciding, resuming } from "./interleave-activities.ts";
import type { Accepting } from "./interleave-activities.ts";
import type { Client, FaultKind, Scenario } from "./interleave.ts";
import type { Script } from "./script.ts";

const STEP: Script = [[{ do: "step", ms: 0 }]];
const REVIEW: Script = [[{ do: "review", shown: "a" }]];
/** Ends as soon as its input stands in the state. */
const NOTHING: Script = [];

const accept = (what: Accepting): Client => [what.name ?? what.tag, () => accepting(what)];

/** Once a review waits. */
const acceptWhileHeld = (what: Accepting): Client => [
  what.tag,
  ({ holds }) => (holds("open").length > 0 ? accepting(what) : undefined),
];

/** Once the first has been answered. */
const acceptAfter = (tag: string, what: Accepting): Client => [
  what.tag,
  ({ answers }) => (answers.get(tag)?.is === "yes" ? accepting(what) : undefined),
];
const cancelOf = (tag: string): Client => [
  `cancel-${tag}`,
  ({ answers }) => {
    const answer = answers.get(tag);
    return answer?.is === "yes" ? cancelling(`cancel-${tag}`, answer.id) : undefined;
  },
];
/** Once it asks. */
const cancelHeldOf = (tag: string): Client => [
  `cancel-${tag}`,
  ({ answers, holds }) => {
    const answer = answers.get(tag);
    const asks = answer?.is === "yes" && holds("open").length > 0;
    return asks ? cancelling(`cancel-${tag}`, answer.id) : undefined;
  },
];
const decide = (tag: string, which: "open" | "raised" = "open"): Client => [
  tag,
  ({ holds }) => {
    const [hold] = holds(which);
    return hold && deciding(tag, hold);
  },
];
const resume = (tag: string): Client => [tag, ({ holds }) => (holds("open").length > 0 ? resuming(tag) : undefined)];

const repeating = (what: Accepting): Client => {
  const again = `${what.tag}-again`;
  return [again, () => ({ ...accepting({ ...what, name: again }), repeats: what.tag })];
};

/** A scenario, and the faults with which every interleaving of it is executed in the time that tests have. */
export interface Claim {
  readonly scenario: Scenario;
  /** All of them by default. */
  readonly faults?: readonly FaultKind[];
  /** Claims are made at once, also where there is no fault: what a worker has read before its claim does not grow old. */
  readonly merged?: true;
  readonly exhausts: readonly FaultKind[];
  /** What the night has the time for besides. */
  readonly exhaustsNightly?: readonly FaultKind[];
}

const HEADLINE = "two API calls, two workers, two runs, one review";
const reviewed = accept({ tag: "one", script: REVIEW });

export const CLAIMS: readonly Claim[] = [
  {
    scenario: {
      name: "enqueue and enqueue",
      clients: [accept({ tag: "one", script: NOTHING }), accept({ tag: "two", script: NOTHING })],
    },
    exhausts: ["no fault", "a crash", "a lost reply"],
  },
  {
    scenario: {
      name: "enqueue and reject",
      clients: [accept({ tag: "one", script: NOTHING }), accept({ tag: "two", script: NOTHING, strategy: "reject" })],
    },
    exhausts: ["no fault", "a crash", "a lost reply"],
  },
  {
    scenario: {
      name: "a repeat under one key",
      clients: [
        accept({ tag: "one", script: NOTHING, keyed: true }),
        repeating({ tag: "one", script: NOTHING, keyed: true }),
      ],
    },
    exhausts: ["no fault", "a lost reply"],
  },
  {
    scenario: {
      name: "reject on a busy thread, and its repeat under one key",
      clients: [
        accept({ tag: "one", script: NOTHING }),
        accept({ tag: "two", script: NOTHING, strategy: "reject", keyed: true }),
        repeating({ tag: "two", script: NOTHING, strategy: "reject", keyed: true }),
      ],
    },
    exhausts: [],
  },
  {
    scenario: {
      name: "a review that is decided as soon as it can be seen",
      clients: [reviewed, decide("eve", "raised")],
    },
    exhausts: ["no fault", "a lost reply"],
  },
  {
    scenario: {
      name: "a decision, and a worker that follows it up as well",
      clients: [reviewed, decide("eve")],
      doubles: true,
    },
    exhausts: [],
  },
  {
    scenario: {
      name: "a review and two decisions",
      clients: [reviewed, decide("eve"), decide("bob")],
    },
    exhausts: ["no fault"],
  },
  {
    scenario: {
      name: "a review, a decision and a resume",
      clients: [reviewed, decide("eve"), resume("bob")],
    },
    exhausts: [],
  },
  {
    scenario: {
      name: "a cancel against the end",
      clients: [accept({ tag: "one", script: STEP }), cancelOf("one")],
    },
    exhausts: ["no fault", "a crash", "a lost reply"],
  },
  {
    scenario: {
      name: "a held run that is cancelled against a decision",
      clients: [accept({ tag: "one", script: REVIEW }), cancelHeldOf("one"), decide("eve")],
    },
    exhausts: [],
    exhaustsNightly: ["no fault"],
  },
  {
    scenario: {
      name: "a cancel against the end, and a run behind it",
      clients: [
        accept({ tag: "one", script: NOTHING }),
        cancelOf("one"),
        acceptAfter("one", { tag: "two", script: NOTHING }),
      ],
    },
    exhausts: [],
  },
  {
    scenario: {
      name: HEADLINE,
      clients: [reviewed, accept({ tag: "two", script: NOTHING }), decide("eve")],
    },
    exhausts: [],
  },
  {
    scenario: {
      name: `${HEADLINE}, claims made at once`,
      clients: [reviewed, accept({ tag: "two", script: NOTHING }), decide("eve")],
    },
    faults: ["no fault"],
    merged: true,
    exhausts: [],
    exhaustsNightly: ["no fault"],
  },
  {
    scenario: {
      name: `${HEADLINE} that the second finds, claims made at once`,
      clients: [reviewed, acceptWhileHeld({ tag: "two", script: NOTHING }), decide("eve")],
    },
    merged: true,
    exhausts: ["no fault"],
  },
];

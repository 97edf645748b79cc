/**
 * Holds that are cancelled on the record. Each is won by one conditional write, as a decision is (I4): whichever comes
 * first stands, and the other hears of it. A cancelled hold stays due until the header no longer says that it waits
 * (I11); whoever completes that, `waiting` is taken off the header by one write.
 *
 * - The header must know that the run which asked has ended before its first hold is cancelled: who found nothing to
 *   correct yet would be done with it, and the header would wait for ever.
 * - What a later holder raised is nobody's to cancel under an older fence (I2).
 */
import { HoldpointError } from "../../core/errors.ts";
import { cancelledHold, isInTheWay, namesHold } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { RunId } from "../../core/ids.ts";
import { entriesOf } from "../../core/queue-room.ts";
import type { Run } from "../../core/run.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Deps } from "../deps.ts";
import { upToDate } from "../threads/repair.ts";
import { followUp, followUpSoon } from "./follow-up.ts";

/** On whose behalf, and in which thread: of a generation, and up to a fence. */
export interface Cancelling extends ThreadRef {
  readonly generation: number;
  readonly fence: number;
  readonly by: string;
  readonly reason: string;
}

export interface Cancelled {
  /** One that was decided before: then none was cancelled, as far as that could be. */
  readonly decided: Hold | undefined;
  /** Those whose follow-up is due, also where somebody cancelled them before and died. */
  readonly cancelled: readonly Hold[];
}

/** Wins every waiting hold that is meant as cancelled, unless one of them is decided. */
export async function cancelHolds(
  deps: Deps,
  cancelling: Cancelling,
  isMeant: (hold: Hold) => boolean = () => true,
): Promise<Cancelled> {
  const { by, reason } = cancelling;
  const isOurs = (hold: Hold): boolean => hold.fence <= cancelling.fence && isMeant(hold);
  const all = (await deps.holds.ofThread(cancelling, cancelling.generation)).map(({ value }) => value);
  const holds = all.filter(isOurs);
  const decided = holds.find((hold) => hold.state === "decided");
  if (decided) return { decided, cancelled: [] };
  const after: Hold[] = [];
  for (const hold of holds) {
    if (hold.state !== "pending") after.push(hold);
    else {
      const won = await deps.holds.update(cancelling, hold.holdId, (now) =>
        now.state === "pending" && isOurs(now)
          ? cancelledHold(now, by, reason, { now: deps.table.now(), followUpDue: true })
          : undefined,
      );
      if (won) after.push(won.value);
    }
  }
  return {
    decided: after.find((hold) => hold.state === "decided"),
    cancelled: after.filter((hold) => hold.state === "cancelled" && hold.followUpDue),
  };
}

/**
 * Where plain interrupts wait, the next run with input first wins each of them as cancelled; what it asks itself is not
 * meant. Returns a hold that was decided before that: its continuation is queued then, and goes first.
 */
export async function cancelPlainHolds(
  deps: Deps,
  cancelling: Cancelling & { readonly runId: RunId },
): Promise<Hold | undefined> {
  const isMeant = (hold: Hold): boolean => !isInTheWay(hold) && hold.runId !== cancelling.runId;
  const { decided } = await cancelHolds(deps, cancelling, isMeant);
  if (decided) await followUp(deps, decided, decided.holdId);
  return decided;
}

/**
 * Whatever the run that a thread waits for has asked is cancelled, for new input.
 * @throws HoldpointError `conflict` when some of it is decided
 */
export async function cancelWaiting(deps: Deps, held: Run, by: string): Promise<void> {
  const { decided, cancelled } = await cancelHolds(deps, { ...held, by, reason: "new input was sent" });
  if (decided)
    throw new HoldpointError("conflict", "a review of this thread was decided, and its answer is being carried on");
  for (const { holdId } of cancelled) await followUp(deps, held, holdId);
}

/**
 * A held run is cancelled: what it still asks is, and the run stays as it ended.
 * @throws HoldpointError `conflict` when it was answered
 */
export async function cancelHeld(
  deps: Deps,
  run: Run,
  { by, reason }: Pick<Cancelling, "by" | "reason">,
): Promise<void> {
  const header = await upToDate(deps, run);
  const isMeant = (hold: Hold): boolean => namesHold(run, hold);
  const asked = async (): Promise<readonly Hold[]> =>
    (await deps.holds.getMany(run, run.end?.holds ?? [])).map(({ value }) => value).filter(isMeant);
  // What it answers may ask again, or come back to this run: that one is to be cancelled instead.
  const next = header && entriesOf(header.value).find(isContinuation);
  if (next && (await asked()).some(({ state }) => state === "pending")) throw wasAnswered(run, next.runId);

  const { decided, cancelled } = await cancelHolds(deps, { ...run, by, reason }, isMeant);
  if (decided) throw wasAnswered(run, decided.carriedBy ?? decided.decision?.continuation);
  for (const hold of cancelled) await followUpSoon(deps, hold);
  if (cancelled.length > 0) return;
  const now = await asked();
  const answered = now.find((hold) => hold.decision !== undefined);
  if (answered && now.every(({ state }) => state !== "cancelled"))
    throw wasAnswered(run, answered.carriedBy ?? answered.decision?.continuation);
}

const isContinuation = ({ kind }: { readonly kind: Run["kind"] }): boolean => kind === "continuation";

function wasAnswered({ runId }: Run, continuation: RunId | undefined): HoldpointError {
  const by = continuation === undefined ? "" : ` by run ${continuation}`;
  return new HoldpointError("conflict", `run ${runId} was answered, and its answer is carried on${by}`, {
    detail: { continuation: continuation ?? null },
  });
}

/** What is around each attempt at a model: what an abandoned one may and may not do. */
import { expect, it } from "vitest";
import { modelFailure } from "../../src/models/failure.ts";
import { createAttempts } from "../../src/models/policies.ts";
import { unlessAborted } from "../../src/models/silence.ts";

const PLACE = "a model";

/** The breaker of a place that fails always, open and due to be tried by the next call. */
async function tripped() {
  const states: string[] = [];
  const onBreaker = (_: string, state: string): number => states.push(state);
  const attempts = createAttempts({ attempts: 1, openMs: 0, onBreaker });
  const attempt = <T>(run: () => Promise<T>, signal = new AbortController().signal): Promise<T> =>
    attempts.attempt(PLACE, signal, { isFinal: () => true, run });
  while (states.length === 0)
    await attempt(() => Promise.reject(modelFailure("unavailable", "it is away"))).catch(() => undefined);
  return { states, attempt };
}

/** A call of a target that hangs until nobody waits any more. */
const hanging = (signal: AbortSignal) => (): Promise<never> =>
  unlessAborted(signal, () => new Promise(() => undefined));

it("a probe that is abandoned leaves the breaker open, and one that is answered closes it", async () => {
  const { states, attempt } = await tripped();
  const gone = new AbortController();
  const probe = attempt(hanging(gone.signal), gone.signal);
  gone.abort(new Error("gone"));
  await expect(probe).rejects.toThrow("gone");
  expect(states).toEqual(["open", "open"]);
  await attempt(async () => "answered");
  expect(states).toEqual(["open", "open", "closed"]);
});

it("a target that refuses what it is asked, while it is tried, has answered", async () => {
  const { states, attempt } = await tripped();
  const refused = modelFailure("invalid_request", "it breaks a rule");
  await expect(attempt(() => Promise.reject(refused))).rejects.toBe(refused);
  expect(states).toEqual(["open", "closed"]);
});

it("for whom nobody waits any more no target is tried", async () => {
  const { states, attempt } = await tripped();
  const run = () => Promise.reject(new Error("it was asked"));
  await expect(attempt(run, AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  expect(states).toEqual(["open"]);
});

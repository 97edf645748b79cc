/** Time, as the tests of the runtime let it pass: in small steps, with everything done that can be done in between. */
import type { Kit } from "./runtime-kit.ts";

const STEP_MS = 250;
/** Of the kit's time: more than anything that a test waits for takes. */
const LIMIT_MS = 1_800_000;

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => void setImmediate(resolve));
}

export async function pass(kit: Kit, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += STEP_MS) {
    kit.clock.advance(Math.min(STEP_MS, ms - gone));
    await settle();
  }
}

/** Moves time on until the probe has an answer that is neither undefined nor false. */
export async function until<T>(
  kit: Kit,
  probe: () => T | Promise<T>,
  what = "the condition",
): Promise<Exclude<T, undefined | false>> {
  for (let gone = 0; gone <= LIMIT_MS; gone += STEP_MS) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    await pass(kit, STEP_MS);
  }
  throw new Error(`${what} did not come true within ${LIMIT_MS} ms of the kit's time`);
}

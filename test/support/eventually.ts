const DEADLINE_MS = 10_000;
const PAUSE_MS = 5;

/** Beyond what a busy machine and a slow engine take. */
export const LONG_MS = 90_000;

/** Resolves with the first answer of `probe` that is neither undefined nor false. @throws when there is none for so long */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  what = "the condition",
  deadlineMs = DEADLINE_MS,
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${deadlineMs} ms`);
    await new Promise((resolve) => {
      setTimeout(resolve, PAUSE_MS);
    });
  }
}

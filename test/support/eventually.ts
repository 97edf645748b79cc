const DEADLINE_MS = 10_000;
const PAUSE_MS = 5;

/** Resolves with the first answer of `probe` that is neither undefined nor false. @throws after ten seconds without one */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  what = "the condition",
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${DEADLINE_MS} ms`);
    await new Promise((resolve) => {
      setTimeout(resolve, PAUSE_MS);
    });
  }
}

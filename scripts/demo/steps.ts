/** How long a step of the story may take. */
export const STEP_MS = 45_000;

export const orderNumber = (n: number): string => `A-${n}`;

/** What the work comes to. @throws Error when it takes longer */
export async function within<T>(timeoutMs: number, what: string, work: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`waited ${timeoutMs / 1000} s for ${what}`)), timeoutMs);
  try {
    return await Promise.race([work(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

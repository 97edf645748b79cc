/** What the cases demand, said in one line whatever the size of the values: no test runner is at hand. */
import { inspect, isDeepStrictEqual } from "node:util";

const SHOWN = 120;

const shown = (value: unknown): string => {
  if (typeof value === "string" && value.length > SHOWN) return `a text of ${value.length} characters`;
  const text = inspect(value, { depth: 4, breakLength: Infinity, maxStringLength: 40, maxArrayLength: 20 });
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
};

/** @throws Error that names both when they are not deeply equal */
export function expectSame(what: string, found: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(found, wanted)) throw new Error(`${what}: found ${shown(found)}, wanted ${shown(wanted)}`);
}

/** @throws Error when it does not hold */
export function expectThat(what: string, holds: boolean): void {
  if (!holds) throw new Error(what);
}

/** Whether it was refused. */
export const refused = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => false,
    () => true,
  );

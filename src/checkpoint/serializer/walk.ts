/** Where a writer stands in the value that it writes, and how it refuses what cannot be written. */
import { HoldpointError } from "../../core/errors.ts";

/** A name in an object, or an index in an array. */
export type Key = string | number;

interface Step {
  readonly key: Key;
  readonly value: object;
}

/** Mutable, one for each value that is written: its depth changes with every container. */
export interface Walk {
  depth: number;
  /** The containers around the present one. Kept only to find the reason of a refusal: it costs time. */
  readonly trail: Step[] | undefined;
}

/**
 * Levels of JSON, at most. A value that refers back to itself is deeper than any number: this finds it without a look at
 * every ancestor. The stack that Node has by default does for more than twice as many when they are read again.
 */
export const MAX_DEPTH = 1000;

export const createWalk = (trail?: Step[]): Walk => ({ depth: 0, trail });

export function enter(walk: Walk, value: object, key: Key): void {
  walk.depth += 1;
  if (walk.trail !== undefined) {
    const at = walk.trail.findIndex((step) => step.value === value);
    walk.trail.push({ key, value });
    if (at >= 0) refuse(walk, `it refers back to ${pathOf(walk.trail.slice(0, at + 1))}`);
  }
  if (walk.depth > MAX_DEPTH) refuse(walk, `it is nested more than ${MAX_DEPTH} levels deep`);
}

export function leave(walk: Walk): void {
  walk.depth -= 1;
  walk.trail?.pop();
}

/** For what stands deeper in JSON than in the value. */
export function deeper<T>(walk: Walk, levels: number, step: () => T): T {
  walk.depth += levels;
  const result = step();
  walk.depth -= levels;
  return result;
}

/** @throws HoldpointError `invalid` that names the path when there is a trail */
export function refuse(walk: Walk, why: string, options: { readonly key?: Key; readonly cause?: unknown } = {}): never {
  const { key, cause } = options;
  const path = pathOf(walk.trail ?? [], key);
  throw new HoldpointError("invalid", `${path} cannot be serialized: ${why}`, { cause, detail: { path } });
}

/** Longest path that is named whole; of a longer one the two ends. */
const PATH_STEPS = 20;

/** `$` is the value itself: `$.a[0]["b c"]`. */
function pathOf([, ...steps]: readonly Step[], key?: Key): string {
  const keys = [...steps.map((step) => step.key), ...(key === undefined ? [] : [key])];
  const parts = keys.map((part) =>
    typeof part === "string" && /^[\w$]+$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`,
  );
  const half = PATH_STEPS / 2;
  return `$${parts.length <= PATH_STEPS ? parts.join("") : `${parts.slice(0, half).join("")}…${parts.slice(-half).join("")}`}`;
}

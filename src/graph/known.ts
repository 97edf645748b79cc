/** Graphs are loaded without being type-checked: what is misspelt must not pass for what was left out. */
import { HoldpointError } from "../core/errors.ts";

/** Every field of a spec, by name: the compiler sees that none is missing. */
export type Fields<Spec> = Readonly<Record<keyof Spec, true>>;

/** @throws HoldpointError `invalid`, naming the first field that there is not */
export function assertKnown<Spec extends object>(of: string, spec: Spec, fields: Fields<Spec>): void {
  const unknown = Object.keys(spec).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined)
    throw new HoldpointError("invalid", `${of}: there is no \`${unknown}\`, only ${Object.keys(fields).join(", ")}`);
}

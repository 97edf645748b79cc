import { HoldpointError } from "../core/errors.ts";
import { contextOf } from "./context.ts";
import type { NodeConfig } from "./context.ts";
import { isCallNumber } from "./where.ts";

/**
 * In a subgraph without our checkpointer the task's id, and so the interrupt's, is new on every execution.
 * @throws HoldpointError `unsupported` for code whose interrupts nobody could ever answer
 */
export function assertAnswerable(config: NodeConfig, what: string): void {
  const { whereabouts } = contextOf(config, `${what}()`);
  const map: unknown = config.configurable?.["checkpoint_map"];
  if (typeof map !== "object" || map === null) return;
  const checkpoints = new Map<string, unknown>(Object.entries(map));
  for (const [ns, checkpoint] of checkpoints) {
    const isKept = ns === "" || whereabouts.pathOf(ns) !== undefined;
    // A functional task shares the checkpoint of the graph that called it.
    if (isKept || checkpoint === checkpoints.get(above(ns))) continue;
    const names = ns.replaceAll(/:[^|]*/g, "");
    throw new HoldpointError(
      "unsupported",
      `a ${what} in ${names} could never be answered: that subgraph is compiled without a checkpointer`,
    );
  }
}

function above(ns: string): string {
  const segments = ns.split("|").slice(0, -1);
  if (isCallNumber(segments.at(-1) ?? "")) segments.pop();
  return segments.join("|");
}

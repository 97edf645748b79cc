/** How often nodes of a run were tried again in place of being given up, as its timeline shows it. */

/** By the name of the node, under those that it runs in (`desk|pay`). */
export type NodeRetries = Readonly<Record<string, number>>;

/** Nodes that are told apart, and how much is kept of a name: graphs may make names up, and all stand on the run item. */
const MAX_NODES = 50;
const MAX_NAME = 256;

/** Name under which what is more than 50 nodes is counted. */
export const OTHER_NODES = "…";

export function addedRetries(before: NodeRetries, more: NodeRetries): NodeRetries {
  const counts = new Map(Object.entries(before));
  for (const [node, times] of Object.entries(more)) {
    const name = node.slice(0, MAX_NAME);
    const key = counts.has(name) || counts.size < MAX_NODES ? name : OTHER_NODES;
    counts.set(key, (counts.get(key) ?? 0) + times);
  }
  return Object.fromEntries(counts);
}

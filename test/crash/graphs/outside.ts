/** How the graphs of these tests act upon the world outside, and tell the test what they do. */
import { effect } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";

/** An effect that happens once for each `what` of a thread. */
export async function act(config: NodeConfig, name: string, what: string): Promise<void> {
  const { thread_id: thread } = (config.configurable ?? {}) as { readonly thread_id?: string };
  await effect(config, { name, policy: "idempotent", args: { what } }, async (token, signal) => {
    const response = await fetch(String(process.env["HOLDPOINT_TEST_OUTSIDE"]), {
      method: "POST",
      body: JSON.stringify({ token, what: `${thread} ${what}` }),
      signal,
    });
    return response.json();
  });
}

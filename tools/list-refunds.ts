import { tool } from "@langchain/core/tools";
import { HoldpointError } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";
import { callSignal, ledgerOf } from "./ledger.ts";

/** What was refunded on one order. */
export const Listing = z.object({
  refunds: z.array(z.object({ reference: z.string(), amount: z.number(), paidAt: z.string() })),
});

/** What the ledger has already refunded on an order. */
export const listRefunds = tool(
  async ({ order }, config: NodeConfig) => {
    const ledger = ledgerOf(config);
    if (ledger === undefined)
      throw new HoldpointError("unavailable", "no ledger is configured: set HOLDPOINT_LEDGER_URL");
    const url = new URL("refunds", ledger);
    url.searchParams.set("order", order);
    const response = await fetch(url, { signal: callSignal(config.signal), redirect: "error" });
    if (!response.ok) throw new HoldpointError("unavailable", `the ledger answered ${response.status}`);
    return Listing.parse(await response.json());
  },
  {
    name: "list-refunds",
    description: "Lists the refunds that were already paid on an order.",
    schema: z.object({ order: z.string().describe("The order's number.") }),
  },
);

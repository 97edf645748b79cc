import { tool } from "@langchain/core/tools";
import { EffectRejected, HoldpointError, effect } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";
import { callSignal, ledgerOf } from "./ledger.ts";

const Refund = z.object({
  order: z.string().describe("The order's number."),
  amount: z.number().positive().describe("How much, in units of the currency, with at most two decimals."),
  currency: z.literal("EUR"),
  reason: z.string().optional().describe("Why, for the ledger's record."),
});

/** What the ledger says of a payment that it made. */
const Receipt = z.object({
  reference: z.string(),
  order: z.string(),
  amount: z.number(),
  currency: z.string(),
  paidAt: z.string(),
});
export type Receipt = z.infer<typeof Receipt>;

/** Pays a refund once, however often its node is executed; the ledger gets the effect's token as idempotency key. */
export const issueRefund = tool(
  async (refund, config: NodeConfig): Promise<Receipt> => {
    const ledger = ledgerOf(config);
    if (ledger === undefined)
      throw new HoldpointError("unavailable", "no ledger is configured: set HOLDPOINT_LEDGER_URL");
    return effect(config, { name: "refund", policy: "idempotent", args: refund }, async (token, signal) => {
      const response = await fetch(new URL("refunds", ledger), {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": token },
        body: JSON.stringify(refund),
        signal: callSignal(signal),
        redirect: "error",
      });
      return receiptOf(response);
    });
  },
  {
    name: "issue-refund",
    description: "Pays a refund on an order. Approval, where it is needed, has to have been given before.",
    schema: Refund,
  },
);

/** Answers that say that nothing was paid, and that the same call would be answered the same way again. */
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 409, 410, 413, 415, 422]);

async function receiptOf(response: Response): Promise<Receipt> {
  const body = await response.text();
  if (REFUSALS.has(response.status))
    throw new EffectRejected(reasonIn(body) ?? `the ledger answered ${response.status}`);
  if (!response.ok) throw new Error(`the ledger answered ${response.status}`);
  return Receipt.parse(JSON.parse(body));
}

function reasonIn(body: string): string | undefined {
  try {
    return z.object({ error: z.string() }).safeParse(JSON.parse(body)).data?.error;
  } catch {
    return undefined;
  }
}

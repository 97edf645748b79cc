import { approves } from "../../core/approval-policy.ts";
import type { PolicyRule } from "../../core/approval-policy.ts";
import type { Hold } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import type { Deps } from "../deps.ts";
import type { DryRun } from "./use-cases.ts";

const PAGE = 100;
/** Of what is done, much may have been decided by nobody. */
const MAX_ROWS = 5_000;

/** What a rule would have made of the last reviews that people decided. Writes nothing. */
export async function dryRun(
  { holds }: Pick<Deps, "holds">,
  { tenant }: Principal,
  rule: PolicyRule,
  last: number,
): Promise<DryRun> {
  const decided: Hold[] = [];
  let after: string | undefined;
  for (let seen = 0; decided.length < last && seen < MAX_ROWS; seen += PAGE) {
    const range = { open: false, descending: true, limit: PAGE };
    const rows = await holds.rows(tenant, { ...range, ...(after === undefined ? {} : { after }) });
    decided.push(...(await holds.ofRows(rows, false)).filter(isDecidedByPeople));
    after = rows.at(-1)?.sort;
    if (rows.length < PAGE) break;
  }
  const looked = decided.slice(0, last);
  const approved = looked.filter((hold) => approves(rule, hold));
  const disagreements = approved.filter(({ decision }) => decision?.answer.type !== "approve");
  return {
    reviews: looked.length,
    approves: approved.length,
    agreements: approved.length - disagreements.length,
    disagreements,
  };
}

const isDecidedByPeople = ({ origin, decision }: Hold): boolean =>
  origin === "review" && decision !== undefined && decision.cause === undefined;

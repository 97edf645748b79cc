import type { RunStatus } from "./run.ts";

export const WIRE_RUN_STATUSES = ["pending", "running", "error", "success", "timeout", "interrupted"] as const;
export type WireRunStatus = (typeof WIRE_RUN_STATUSES)[number];

/** The status that clients of the LangGraph API know for each of ours. */
export function wireStatus(status: RunStatus): WireRunStatus {
  switch (status) {
    case "pending":
    case "waiting":
      return "pending";
    case "running":
      return "running";
    case "success":
    case "held":
      return "success";
    case "cancelled":
      return "interrupted";
    case "timeout":
      return "timeout";
    case "error":
    case "parked":
    case "refused":
      return "error";
  }
}

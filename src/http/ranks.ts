/** What is refused first, second and last when a process has more to do than it can. */
import { z } from "zod";

/**
 * `new` work is refused first: whoever wants it started can come back. Then what is `ordinary`: reading, and changing what
 * is at rest. What is `vital` ends work or lets it go on (decisions, resumes, cancels): refusing it would only make more wait.
 */
export type Rank = "new" | "ordinary" | "vital";

/** How a route ranks. Where its body decides, a request of the lower rank may show by a small body that it is of a higher one. */
export interface Ranking {
  readonly rank: Rank;
  readonly byBody?: (body: unknown) => Rank;
}

const NEW: Ranking = { rank: "new" };
const ORDINARY: Ranking = { rank: "ordinary" };
const VITAL: Ranking = { rank: "vital" };

const resume = z.object({ command: z.object({ resume: z.unknown().refine((value) => value !== undefined) }) });
/** On a thread, the same routes start runs and answer what waits. */
const NEW_OR_RESUME: Ranking = {
  rank: "new",
  byBody: (body) => (resume.safeParse(body).success ? "vital" : "new"),
};

const answered = z.object({ method: z.literal("input.respond") });
const started = z.object({ method: z.literal("run.start") });
const COMMAND: Ranking = {
  rank: "new",
  byBody(body) {
    if (answered.safeParse(body).success) return "vital";
    return started.safeParse(body).success ? "new" : "ordinary";
  },
};

/** Every route that is not ordinary, as it is registered. */
export const RANKINGS: Readonly<Record<string, Ranking>> = {
  "POST /runs": NEW,
  "POST /runs/stream": NEW,
  "POST /runs/wait": NEW,
  "POST /runs/batch": NEW,
  "POST /threads/:thread_id/runs": NEW_OR_RESUME,
  "POST /threads/:thread_id/runs/stream": NEW_OR_RESUME,
  "POST /threads/:thread_id/runs/wait": NEW_OR_RESUME,
  "POST /threads/:thread_id/commands": COMMAND,
  "POST /threads/:thread_id/runs/:run_id/cancel": VITAL,
  "POST /runs/cancel": VITAL,
  "POST /v1/reviews/:review_id/decisions": VITAL,
  "POST /v1/reviews/decisions": VITAL,
  "POST /v1/runs/:run_id/cancel": VITAL,
  "POST /v1/runs/:run_id/park": VITAL,
  "POST /v1/runs/:run_id/retry": NEW,
  "POST /v1/runs/:run_id/resume": NEW,
  "POST /v1/effects/:effect_id/settlement": VITAL,
  "POST /v1/callbacks/:token": VITAL,
  "POST /v1/links/:token": VITAL,
};

/** @param route method and pattern, from the root of what is served */
export function rankingOf(route: string): Ranking {
  return RANKINGS[route] ?? ORDINARY;
}

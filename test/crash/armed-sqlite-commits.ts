import { createCommits as create, whenFree } from "../../src/local/sqlite-commits.ts";
import type { Commits, CommitsDeps } from "../../src/local/sqlite-commits.ts";
import { insideTransaction } from "./armed-process.ts";

export { whenFree };

export function createCommits(deps: CommitsDeps): Commits {
  return create({
    ...deps,
    housekeeping() {
      deps.housekeeping();
      insideTransaction();
    },
  });
}

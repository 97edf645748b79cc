import { createCommits as create, whenFree } from "../../src/local/sqlite-commits.ts";
import type { Commits, CommitsDeps } from "../../src/local/sqlite-commits.ts";
import { insideTransaction } from "./armed-process.ts";
import { writeToDisk } from "./disk.ts";
import { FOLDER_VARIABLE } from "./witness.ts";

export { whenFree };

export function createCommits(deps: CommitsDeps): Commits {
  const folder = process.env[FOLDER_VARIABLE];
  return create({
    ...deps,
    housekeeping() {
      deps.housekeeping();
      insideTransaction();
      if (folder !== undefined) writeToDisk(deps.db, folder);
    },
  });
}

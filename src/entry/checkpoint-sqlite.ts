/** `holdpoint/checkpoint-sqlite`: a checkpointer and long-term memory for anyone's LangGraph.js graph in one SQLite file. */
import { systemClock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { assertNodeVersion } from "../core/node-version.ts";
import { openLibrary } from "../checkpoint/open.ts";
import type { Checkpoints, LibraryOptions } from "../checkpoint/open.ts";
import { createFolderBlobs } from "../local/folder-blobs.ts";
import { createLocalKeys } from "../local/local-keys.ts";

export type { Checkpoints } from "../checkpoint/open.ts";
export type { FencedSaver as HoldpointSaver } from "../checkpoint/saver.ts";
export { HoldpointError, isHoldpointError } from "../core/errors.ts";

export interface SqliteOptions extends LibraryOptions {
  /** Folder of the database (`checkpoints.db`) and of values above 256 KB; made when it is not there. Several processes may use it. */
  readonly dir: string;
  /** Encrypts what is stored with data keys that the first of these wraps; the others only open. 16, 24 or 32 characters, or the base64 of 32 bytes. */
  readonly encryptionKeys?: readonly string[];
}

function assertSettings({ dir, encryptionKeys }: SqliteOptions): void {
  if (typeof dir !== "string" || dir === "")
    throw new HoldpointError("invalid", "`dir` is the folder of the database, and is not given");
  if (encryptionKeys !== undefined && !Array.isArray(encryptionKeys))
    throw new HoldpointError("invalid", "`encryptionKeys` is an array of keys, newest first");
}

/**
 * Opens the database. @throws HoldpointError `unavailable` when it cannot be opened; `invalid` for a setting that cannot be
 * used; `unsupported` on a Node below 24
 */
export async function openSqlite(options: SqliteOptions): Promise<Checkpoints> {
  assertNodeVersion(process.versions.node);
  assertSettings(options);
  // Not above: an older Node has no SQLite, and would end before it could say so.
  const { createSqliteTable } = await import("../local/sqlite-table.ts");
  const { dir, encryptionKeys = [] } = options;
  const wrappingKeys = encryptionKeys.length === 0 ? undefined : createLocalKeys(encryptionKeys);
  const table = await createSqliteTable({ path: `${dir}/checkpoints.db`, clock: systemClock, ids: systemIds });
  return openLibrary({ table, blobs: createFolderBlobs({ dir: `${dir}/blobs` }), wrappingKeys }, options);
}

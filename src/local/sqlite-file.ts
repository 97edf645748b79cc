/** Opening the embedded table's file: its schema, its pragmas, and errors that say what is wrong with which path. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorInfo, HoldpointError } from "../core/errors.ts";

/** Version of the schema that this program writes, kept in `PRAGMA user_version`. */
export const SCHEMA_VERSION = 1;
/** "HOLD" in ASCII, kept in `PRAGMA application_id`: nothing else's file is ever taken for ours. */
const APPLICATION_ID = 0x48_4f_4c_44;

/**
 * The longest that SQLite may wait for another process's lock inside a call, and so block the event loop.
 * Anything longer is waited for asynchronously.
 */
const BUSY_TIMEOUT_MS = 2;

const SCHEMA = `
  CREATE TABLE items (
    pk TEXT NOT NULL, sk TEXT NOT NULL,
    version INTEGER NOT NULL, write_id TEXT NOT NULL, expires_at INTEGER,
    due_pk TEXT, due_sk TEXT, list_pk TEXT, list_sk TEXT,
    format INTEGER NOT NULL, attributes TEXT NOT NULL, bytes BLOB,
    PRIMARY KEY (pk, sk)
  );
  CREATE INDEX due ON items (due_pk, due_sk, pk, sk, expires_at) WHERE due_pk IS NOT NULL;
  CREATE INDEX list ON items (list_pk, list_sk, pk, sk, expires_at) WHERE list_pk IS NOT NULL;
  CREATE INDEX expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/**
 * Opens or creates the file, and its folder.
 * @throws HoldpointError `unavailable` (folder, permissions), `corrupt` (not a database of ours), `unsupported` (a newer
 *   schema), each a line that names the path; SQLite's own error while another process holds the file's lock
 */
export function openFile(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    makeFolder(dirname(path));
    db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    prepareFile(db, path);
    return db;
  } catch (error) {
    if (db?.isOpen === true) db.close();
    if (error instanceof HoldpointError || isBusy(error)) throw error;
    if (primaryCode(error) === NOT_A_DATABASE) {
      throw new HoldpointError("corrupt", `${path} is not a SQLite database`, { cause: error });
    }
    throw new HoldpointError("unavailable", `cannot open the table ${path}: ${errorInfo(error).message}`, {
      cause: error,
    });
  }
}

/** Level by level: Node's own recursion never ends where a file system answers that what is to be made is not there. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

function prepareFile(db: DatabaseSync, path: string): void {
  assertOurs(db, path);
  if (pragma(db, "journal_mode = WAL") !== "wal") {
    throw new HoldpointError(
      "unavailable",
      `cannot open the table ${path}: its file system does not support SQLite's WAL mode`,
    );
  }
  db.exec("PRAGMA synchronous = FULL");
  db.exec("BEGIN IMMEDIATE");
  try {
    // Asked again under the lock: another process may have created the schema in between.
    if (assertOurs(db, path) === 0) db.exec(SCHEMA);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** The schema version of the file, 0 for an empty one. */
function assertOurs(db: DatabaseSync, path: string): number {
  const version = Number(pragma(db, "user_version"));
  const empty = version === 0 && db.prepare("SELECT 1 FROM sqlite_schema").get() === undefined;
  if (!empty && pragma(db, "application_id") !== APPLICATION_ID) {
    throw new HoldpointError("corrupt", `${path} is a SQLite database, but not one of Holdpoint's`);
  }
  if (version > SCHEMA_VERSION) {
    throw new HoldpointError(
      "unsupported",
      `${path} was written by a newer Holdpoint (schema ${version}, this one knows ${SCHEMA_VERSION}): upgrade Holdpoint`,
    );
  }
  return version;
}

const pragma = (db: DatabaseSync, text: string): unknown => Object.values(db.prepare(`PRAGMA ${text}`).get() ?? {})[0];

const BUSY = 5;
const LOCKED = 6;
/** Of WAL mode: others came first too often in a row. */
const PROTOCOL = 15;
const FULL = 13;
const NOT_A_DATABASE = 26;

/** SQLite's primary result code of a thrown error; undefined for any other error. */
function primaryCode(error: unknown): number | undefined {
  const code = error instanceof Error && "errcode" in error ? error.errcode : undefined;
  return typeof code === "number" ? code & 0xff : undefined;
}

/** True when another process held a lock: the same call may succeed later, and nothing of it has happened. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === BUSY || code === LOCKED || code === PROTOCOL;
}

/** True when there was no space left for what was to be written. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === FULL;
}

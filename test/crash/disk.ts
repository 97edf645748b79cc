/**
 * A disk under SQLite that is full, as SQLite itself finds it: while a file says so, every transaction of every process also
 * writes more than its file may still grow.
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";

const flagIn = (folder: string): string => join(folder, "disk-is-full");

export const fillDisk = (folder: string): void => writeFileSync(flagIn(folder), "");
export const makeRoom = (folder: string): void => rmSync(flagIn(folder));

/** SQLite's own bound on pages. */
const NO_BOUND = 4_294_967_294;
const BALLAST_BYTES = 50 * 1024 * 1024;

/** Called inside each transaction, after its writes. @throws SQLite's error for a full disk */
export function writeToDisk(db: DatabaseSync, folder: string): void {
  if (!existsSync(flagIn(folder))) return;
  const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
  db.exec(`PRAGMA max_page_count = ${pages}`);
  try {
    db.prepare(
      "INSERT INTO items (pk, sk, version, write_id, format, attributes) VALUES ('ballast', '', 1, '', 1, zeroblob(?))",
    ).run(BALLAST_BYTES);
  } finally {
    db.exec(`PRAGMA max_page_count = ${NO_BOUND}`);
  }
}

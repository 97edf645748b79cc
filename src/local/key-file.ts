import { open, readFile, rename, rm, stat } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { parseKeyFile, principalOf } from "../storage/api-keys.ts";
import type { ApiKeys, KeyFile } from "../storage/api-keys.ts";

const CHECK_EVERY_MS = 1000;

/** @throws HoldpointError `invalid` for a file that is not one of keys; the file system's error when it cannot be read */
export async function readKeyFile(path: string): Promise<KeyFile> {
  return parseKeyFile(await readFile(path, "utf8"));
}

/** Replaces the file as a whole, readable by its owner only; readers see the old one or the new one. */
export async function writeKeyFile(path: string, file: KeyFile, ids: IdSource): Promise<void> {
  const temporary = `${path}.${ids.token(6)}.tmp`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(file, undefined, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

export interface KeyFileOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Told when a changed file cannot be understood: the keys of the last good one stay in force. */
  readonly onInvalid: (error: unknown) => void;
}

/**
 * The API keys of a file, read again when it changes (looked at once a second at most). A file that has vanished
 * stops all access.
 * @throws HoldpointError `invalid`, or the file system's error, when the first reading fails
 */
export async function openKeyFile({ path, clock, onInvalid }: KeyFileOptions): Promise<ApiKeys> {
  // What cannot be looked at cannot be read either, which says why.
  let mark = await markOf(path).catch(() => undefined);
  let file = await readKeyFile(path);
  let checkedAt = clock.monotonic();
  let checking: Promise<void> | undefined;

  const check = async (): Promise<void> => {
    const seen = await markOf(path);
    if (seen !== mark) {
      try {
        file = await readKeyFile(path);
      } catch (error) {
        onInvalid(error);
      }
      mark = seen;
    }
    checkedAt = clock.monotonic();
  };
  return {
    async verify(presented) {
      if (clock.monotonic() - checkedAt >= CHECK_EVERY_MS) {
        checking ??= check().finally(() => (checking = undefined));
        await checking;
      }
      return principalOf(file, presented, clock.wall());
    },
  };
}

/** What changes whenever the file is replaced or edited. */
async function markOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch (cause) {
    throw new HoldpointError("unavailable", "API keys cannot be checked at the moment", { cause });
  }
}

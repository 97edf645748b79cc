/**
 * Bodies as files: `<dir>/<tenant>/<thread>/<generation>/<sha256>`; older versions left out the generation.
 *
 * Must stay true:
 * - A file under its final name is whole and on disk: it is written elsewhere, synced, renamed, and its folder synced.
 * - No name of a tenant or thread reaches outside its own folder, nor shares one on a file system that ignores case.
 */
import { mkdir, open, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import { assertBodyName, isOld, ownerPath, readPlaced, threadPath } from "../storage/blobs.ts";
import type { BlobOwner, Blobs } from "../storage/blobs.ts";
import { contentName } from "../storage/keys.ts";

/** A thread may be deleted while a body is being written into its folder. */
const ATTEMPTS = 3;

/** A Blob port on a folder, which is created when it is first needed. */
export function createFolderBlobs({ dir }: { readonly dir: string }): Blobs {
  const folderOf = (owner: BlobOwner): string => join(dir, ownerPath(owner));
  return {
    async put(owner, bytes) {
      const name = contentName(bytes);
      const folder = folderOf(owner);
      for (let attempt = 1; ; attempt++) {
        try {
          await makeFolder(folder, dir);
          await writeWhole(join(folder, name), bytes);
          return name;
        } catch (error) {
          if (attempt < ATTEMPTS && codeOf(error) === "ENOENT") continue;
          throw failed("write", join(folder, name), error);
        }
      }
    },
    async get(owner, name) {
      assertBodyName(name);
      return readPlaced(owner, (place) => readBody(join(folderOf(place), name), name));
    },
    async removeOld(thread, which) {
      const folder = join(dir, threadPath(thread));
      try {
        const old = (await entriesOf(folder)).filter((entry) => isOld(entry, which));
        for (const entry of old) await rm(join(folder, entry), { recursive: true, force: true, maxRetries: 5 });
        await removeIfEmpty(folder);
      } catch (error) {
        throw failed("remove", folder, error);
      }
    },
  };
}

async function entriesOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** A writer that loses its folder to this makes it again. */
async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTEMPTY") throw error;
  }
}

async function readBody(path: string, name: string): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  if (contentName(bytes) !== name) throw new HoldpointError("corrupt", `the body ${path} is not what its name says`);
  return bytes;
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const { buffer, byteOffset, byteLength } = await readFile(path);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (error) {
    if (codeOf(error) === "ENOENT")
      throw new HoldpointError("corrupt", `the body ${path} is missing`, { cause: error });
    throw failed("read", path, error);
  }
}

async function makeFolder(folder: string, root: string): Promise<void> {
  const created = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (created === undefined) return;
  // The entries of new folders are on disk only once the folders above them have been synced.
  for (const above of [dirname(folder), dirname(dirname(folder)), root, dirname(root)]) await syncFolder(above);
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const { temporary, file } = await createTemporary(path);
  try {
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

async function createTemporary(path: string) {
  for (let n = 0; ; n++) {
    const temporary = `${path}.${process.pid}.${n}`;
    try {
      return { temporary, file: await open(temporary, "wx", 0o600) };
    } catch (error) {
      // Another writer of the same body in this process, or what a killed one of the same number left.
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

const failed = (what: string, path: string, error: unknown): HoldpointError =>
  new HoldpointError("unavailable", `cannot ${what} the body ${path}: ${errorInfo(error).message}`, { cause: error });

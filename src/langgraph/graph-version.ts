import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";

const IMPORT = /(?:from|import|require)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g;
const ENDINGS = ["", ".ts", ".tsx", ".js", ".mjs", ".json", "/index.ts", "/index.js"];

/**
 * Digest of a graph file and of the local files that it imports, directly or not: a run records the version that
 * executed it (I9). Packages are left out; they change with the image.
 */
export async function graphVersion(file: string): Promise<string> {
  const contents = new Map<string, string>();
  const queue = [file];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (contents.has(next)) continue;
    const text = await readFile(next, "utf8");
    contents.set(next, text);
    for (const [, specifier = ""] of text.matchAll(IMPORT)) {
      const imported = await existing(resolve(dirname(next), specifier));
      if (imported !== undefined) queue.push(imported);
    }
  }
  const hash = createHash("sha256");
  for (const [path, text] of [...contents].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${relative(dirname(file), path)}\u0000${text.length}\u0000${text}`);
  }
  return hash.digest("hex");
}

async function existing(path: string): Promise<string | undefined> {
  // A TypeScript file may be imported under the name that it will have when compiled.
  const candidates = [...ENDINGS.map((ending) => path + ending), path.replace(/\.js$/, ".ts")];
  for (const candidate of candidates) {
    const isFile = await readFile(candidate).then(
      () => true,
      () => false,
    );
    if (isFile) return candidate;
  }
  return undefined;
}

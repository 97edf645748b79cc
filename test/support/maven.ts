/** Servers that are libraries of Java: fetched once with Maven into `.cache`. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { onPath } from "./on-path.ts";

export interface JavaLibrary {
  /** The folder that holds its jars once they are there; named after its version. */
  readonly folder: string;
  readonly pom: string;
  /** What Maven is to do with that; `-DoutputDirectory` is given to it. */
  readonly goal: string;
}

/** Why a server cannot run here, in a few words; undefined when it can, after fetching it if need be. */
export async function whyNotFetched(library: JavaLibrary): Promise<string | undefined> {
  if (!(await onPath("java"))) return "java is not installed";
  if (existsSync(library.folder)) return undefined;
  if (!(await onPath("mvn"))) return "Maven is not installed";
  try {
    await fetchLibrary(library);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Into a folder of its own and then renamed, so that two test runs at once do no harm. */
async function fetchLibrary({ folder, pom, goal }: JavaLibrary): Promise<void> {
  const cache = dirname(folder);
  await mkdir(cache, { recursive: true });
  const target = await mkdtemp(join(cache, "fetching-"));
  try {
    const args = ["-q", "-B", "-f", pom, goal, `-DoutputDirectory=${target}`];
    const maven = spawn("mvn", args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    maven.stdout.on("data", (text) => (output += String(text)));
    const code = await new Promise((resolve, reject) => maven.once("error", reject).once("close", resolve));
    if (code !== 0) throw new Error(`Maven could not fetch it: ${output.trim().split("\n")[0]}`);
    await rename(target, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

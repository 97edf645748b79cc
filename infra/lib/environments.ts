/** The environments: a file of `environments/` for each. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HoldpointError } from "../../src/core/errors.ts";
import { environmentConfig } from "./config.ts";
import type { EnvironmentConfig } from "./config.ts";

const FOLDER = join(import.meta.dirname, "../environments");

/** Every environment, in the order of the names of their files. @throws HoldpointError `invalid`: a line `<file>: <path>: <message>` for each mistake of all files */
export function readEnvironments(): readonly EnvironmentConfig[] {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  const read = files.toSorted().map((file) => parseEnvironment(file, readFileSync(join(FOLDER, file), "utf8")));
  const mistakes = read.flatMap((one) => one.mistakes ?? []);
  if (mistakes.length > 0) throw new HoldpointError("invalid", mistakes.join("\n"));
  return read.flatMap((one) => one.config ?? []);
}

type Read =
  | { readonly config: EnvironmentConfig; readonly mistakes?: never }
  | { readonly config?: never; readonly mistakes: readonly string[] };

function parseEnvironment(file: string, text: string): Read {
  try {
    const { data, error } = environmentConfig.safeParse(JSON.parse(text));
    if (error === undefined)
      return `${data.name}.json` === file
        ? { config: data }
        : { mistakes: [`${file}: name: that of the file is expected`] };
    return { mistakes: error.issues.map(({ path, message }) => [file, ...placeOf(path), message].join(": ")) };
  } catch (error) {
    if (error instanceof SyntaxError) return { mistakes: [`${file}: ${error.message}`] };
    throw error;
  }
}

/** Nothing for the top of the file. */
const placeOf = (path: readonly PropertyKey[]): readonly string[] => (path.length === 0 ? [] : [path.join(".")]);

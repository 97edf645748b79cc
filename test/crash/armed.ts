/**
 * For `node --import`: puts armed tables in the place of the adapters' own, before the composition root asks for them.
 * Everything else of the process is the product as it ships.
 */
import { registerHooks } from "node:module";
import { isMainThread } from "node:worker_threads";
import { FOLDER_VARIABLE } from "./witness.ts";

const source = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;

/** The product's modules that are replaced, each by one that imports it and wraps what it exports. */
const REPLACED: Readonly<Record<string, string>> = {
  [source("local/sqlite-table.ts")]: import.meta.resolve("./armed-sqlite-table.ts"),
  [source("local/sqlite-commits.ts")]: import.meta.resolve("./armed-sqlite-commits.ts"),
  [source("aws/dynamodb-table.ts")]: import.meta.resolve("./armed-dynamodb-table.ts"),
};

/** Environment of a process that is to be armed: its orders are read, and its facts left, in this folder. */
export function armedEnv(folder: string): Readonly<Record<string, string>> {
  return { [FOLDER_VARIABLE]: folder, NODE_OPTIONS: `--import=${import.meta.url}` };
}

const isPreloaded = process.env["NODE_OPTIONS"]?.includes(import.meta.url) === true;

if (isPreloaded && isMainThread) {
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      const replacement = REPLACED[found.url];
      return replacement === undefined || context.parentURL === replacement ? found : { ...found, url: replacement };
    },
  });
}

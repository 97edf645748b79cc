/**
 * For `node --import`: makes a process one of the next version of the service, whose records have a format 2, by putting
 * tables as that version sees them in the place of the adapters' own. Everything else is the product as it ships.
 */
import { registerHooks } from "node:module";
import { isMainThread } from "node:worker_threads";

const source = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;

const REPLACED: Readonly<Record<string, string>> = {
  [source("local/sqlite-table.ts")]: import.meta.resolve("./next-version-sqlite.ts"),
  [source("aws/dynamodb-table.ts")]: import.meta.resolve("./next-version-dynamodb.ts"),
};

/** Environment of a process of the next version. */
export const NEXT_VERSION: Readonly<Record<string, string>> = { NODE_OPTIONS: `--import=${import.meta.url}` };

if (isMainThread && process.env["NODE_OPTIONS"] === NEXT_VERSION["NODE_OPTIONS"]) {
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      const replacement = REPLACED[found.url];
      return replacement === undefined || context.parentURL === replacement ? found : { ...found, url: replacement };
    },
  });
}

/**
 * Imports other people's TypeScript: with Node's own type stripping where the syntax is erasable, through tsx where it
 * is not, or where imports are written without the extension. Whatever folder a file stands in, `holdpoint/graph` is
 * this very installation, and LangGraph is this one's if the folder has none: two copies of either would not know each
 * other's interrupts. So is zod, in which graphs write their schemas.
 */
import { registerHooks } from "node:module";
import type { ResolveFnOutput, ResolveHookContext } from "node:module";
import { pathToFileURL } from "node:url";

export interface ModuleLoader extends Disposable {
  /** The exports of a file. @throws what the import threw */
  load(file: string): Promise<Readonly<Record<string, unknown>>>;
}

const KIT = "holdpoint/graph";
const SHARED = /^(@langchain\/(langgraph|core|langgraph-checkpoint)|zod)(\/|$)/;
const NOT_FOUND = new Set(["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"]);
/** What Node says about TypeScript that tsx can load. */
const FOR_TSX = new Set([
  "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX",
  "ERR_INVALID_TYPESCRIPT_SYNTAX",
  "ERR_UNKNOWN_FILE_EXTENSION",
  "ERR_UNSUPPORTED_DIR_IMPORT",
  ...NOT_FOUND,
]);
const NAMESPACE = "holdpoint";
const QUERY = `?tsx-namespace=${NAMESPACE}`;
/** A source file that tsx takes for CommonJS because no package.json says otherwise. */
const AS_COMMONJS = /\.(?:ts|tsx|js|jsx)(?:%3F|\?|$)/;

/** The hooks stay in place until it is disposed of, since graphs may import more when they run. */
export function createModuleLoader(): ModuleLoader {
  let hooks = registerHooks({ resolve });
  let tsx: Promise<TsxImport> | undefined;
  const throughTsx = async (): Promise<TsxImport> => {
    const { register } = await import("tsx/esm/api");
    const api = register({ namespace: NAMESPACE });
    // The last hook registered is asked first, and ours has to correct what tsx says.
    hooks.deregister();
    hooks = registerHooks({ resolve });
    return (url) => api.import(url, import.meta.url) as Promise<Readonly<Record<string, unknown>>>;
  };
  return {
    async load(file) {
      const url = pathToFileURL(file).href;
      try {
        return (await import(url)) as Readonly<Record<string, unknown>>;
      } catch (error) {
        if (!FOR_TSX.has(codeOf(error))) throw error;
        tsx ??= throughTsx();
        return await (
          await tsx
        )(url);
      }
    },
    [Symbol.dispose]: () => hooks.deregister(),
  };
}

type TsxImport = (url: string) => Promise<Readonly<Record<string, unknown>>>;
type NextResolve = (specifier: string, context?: Partial<ResolveHookContext>) => ResolveFnOutput;

function resolve(specifier: string, context: ResolveHookContext, next: NextResolve): ResolveFnOutput {
  if (specifier === KIT)
    return { url: kitUrl(), format: kitUrl().endsWith(".ts") ? "module-typescript" : "module", shortCircuit: true };
  const found = SHARED.test(specifier) ? resolveShared(specifier, context, next) : next(specifier, context);
  if (!found.url.includes("tsx-namespace=")) return found;
  // One instance of a package for everybody, and modules even where no package.json asks for them.
  const path = found.url.replace(/(?:%3F|\?).*$/, "");
  if (path.includes("/node_modules/")) return { ...found, url: path };
  return found.format === "commonjs" && AS_COMMONJS.test(found.url)
    ? { ...found, url: path + QUERY, format: "module" }
    : found;
}

function resolveShared(specifier: string, context: ResolveHookContext, next: NextResolve): ResolveFnOutput {
  try {
    return next(specifier, context);
  } catch (error) {
    if (!NOT_FOUND.has(codeOf(error))) throw error;
    return next(specifier, { ...context, parentURL: import.meta.url });
  }
}

/** The authors' kit beside this file: source in development, compiled in the image. */
const kitUrl = (): string =>
  new URL(`../entry/graph${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url).href;

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : "";

/** The thread that owns the search indexes of this process: one call at a time, answered in order. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { errorInfo, isHoldpointError } from "../core/errors.ts";
import type { AnswerMessage, CallMessage, IndexAnswers, IndexCall, ThreadData } from "./sqlite-search-calls.ts";
import { openSearchIndex } from "./sqlite-search-index.ts";
import type { SearchIndex } from "./sqlite-search-index.ts";

/** Open files at once; the one that was opened first makes room. */
const MOST_OPEN = 64;

/** A tenant's file (I8). Names that could be something else to a file system are hashed. */
function fileOf(tenant: string): string {
  const plain = /^[a-z0-9][a-z0-9_-]{0,63}$/.test(tenant);
  return `${plain ? `t-${tenant}` : `h-${createHash("sha256").update(tenant).digest("hex")}`}.sqlite`;
}

function createIndexes({ folder, extension }: ThreadData) {
  const open = new Map<string, SearchIndex>();
  mkdirSync(folder, { recursive: true });
  const indexOf = (tenant: string, make: boolean): SearchIndex | undefined => {
    const found = open.get(tenant);
    if (found !== undefined) return found;
    const path = join(folder, fileOf(tenant));
    if (!make && !existsSync(path)) return undefined;
    for (const [first, index] of open) {
      if (open.size < MOST_OPEN) break;
      index[Symbol.dispose]();
      open.delete(first);
    }
    const index = openSearchIndex(path, extension);
    open.set(tenant, index);
    return index;
  };
  return (request: IndexCall): IndexAnswers[keyof IndexAnswers] => {
    const { tenant, collection } = request;
    const index = indexOf(tenant, request.verb === "replace");
    switch (request.verb) {
      case "digests":
        return index?.digests(collection, request.ids) ?? new Map();
      case "replace":
        index?.replace(collection, request.documents, request.embedder);
        return undefined;
      case "remove":
        return index?.remove(collection, request.ids) ?? 0;
      case "documentIds":
        return index?.documentIds(collection) ?? [];
      case "search":
        return index?.search(collection, request.query) ?? { kind: "passages", passages: [] };
    }
  };
}

// What `sqlite-search.ts` starts this thread with, and sends to it.
const answer = createIndexes(workerData as ThreadData);
parentPort?.on("message", ({ call, request }: CallMessage) => {
  const reply = (message: AnswerMessage): void => parentPort?.postMessage(message, []);
  try {
    reply({ call, answer: answer(request) });
  } catch (error) {
    const code = isHoldpointError(error) ? error.code : "unavailable";
    reply({ call, code, error: errorInfo(error).message });
  }
});

/** The processes of the story: a ledger that pays, an API process, and workers that can be killed and replaced. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { startGate } from "./gate.ts";
import type { Gate } from "./gate.ts";
import { PROJECT, startProcess } from "./process.ts";
import { startService } from "./service.ts";
import type { Service, ServiceOptions } from "./service.ts";

export interface CastOptions {
  readonly dataDir: string;
  /** Keep what an earlier demonstration left in the folder. */
  readonly keep: boolean;
  readonly port: number;
  readonly documents: string;
  /** False: the ledger pays whatever it is asked, however often. The negative control of the story. */
  readonly honourKeys: boolean;
}

export interface Progress {
  readonly documents: number;
  readonly total: number;
  readonly passages: number;
}

export interface Cast extends AsyncDisposable {
  readonly url: string;
  readonly storage: string;
  readonly logs: string;
  readonly ledger: { readonly url: string; readonly pid: number };
  readonly gate: Gate;
  readonly api: Service;
  /** The worker that runs now. */
  worker(): Service;
  /** Starts another worker; resolves when it says that it is ready. */
  hireWorker(): Promise<Service>;
  /** Resolves when the first worker has taken in the documents. */
  ingested(onProgress: (progress: Progress) => void): Promise<Progress>;
}

/** No tracing of somebody's own leaves the machine from here. */
const QUIET = { LANGSMITH_TRACING: "false", LANGCHAIN_TRACING_V2: "false" } as const;

export async function startCast(options: CastOptions): Promise<Cast> {
  const stack = new AsyncDisposableStack();
  try {
    return await assemble(options, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function assemble(
  { dataDir, keep, port, documents, honourKeys }: CastOptions,
  stack: AsyncDisposableStack,
): Promise<Cast> {
  if (!keep) await rm(dataDir, { recursive: true, force: true });
  const logs = join(dataDir, "logs");
  await mkdir(logs, { recursive: true });

  const ledger = stack.use(
    startProcess({
      name: "the ledger",
      args: [
        join(PROJECT, "scripts/ledger.ts"),
        "--file",
        join(dataDir, "ledger.db"),
        honourKeys ? "--honour-keys" : "--no-honour-keys",
      ],
      logFile: join(logs, "ledger.log"),
    }),
  );
  const ledgerUrl = await ledger.line((line) => /http:\/\/\S+/.exec(line)?.[0]);
  const gate = stack.use(await startGate(ledgerUrl));

  const env = {
    ...QUIET,
    HOLDPOINT_DATA_DIR: dataDir,
    HOLDPOINT_CONFIG: join(PROJECT, "langgraph.json"),
    HOLDPOINT_LEDGER_URL: gate.url,
    HOLDPOINT_DOCUMENTS: undefined,
    HOLDPOINT_HOST: "127.0.0.1",
    HOLDPOINT_KEYS: undefined,
    HOLDPOINT_LOG_LEVEL: "info",
  };
  const service = (name: string, options: Omit<ServiceOptions, "env" | "logFile" | "mode">): Service =>
    stack.use(startService({ ...options, mode: modeOf(process.env), env, logFile: join(logs, `${name}.log`) }));

  const api = service("api", { role: "api", flags: ["--port", String(port)] });
  const { url = "", storage } = await api.ready;
  let worker = service("worker-1", { role: "worker", flags: ["--documents", documents] });
  let hired = 1;
  await worker.ready;

  return {
    url,
    storage: String(storage),
    logs,
    ledger: { url: ledgerUrl, pid: ledger.pid },
    gate,
    api,
    worker: () => worker,
    async hireWorker() {
      worker = service(`worker-${++hired}`, { role: "worker" });
      await worker.ready;
      return worker;
    },
    ingested: (onProgress) => awaitIngestion(worker, onProgress),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** `start` never creates a table; on a local endpoint the demonstration may. */
const modeOf = (env: NodeJS.ProcessEnv): "dev" | "start" => ((env["DYNAMODB_ENDPOINT"] ?? "") === "" ? "start" : "dev");

function awaitIngestion(worker: Service, onProgress: (progress: Progress) => void): Promise<Progress> {
  let last: Progress = { documents: 0, total: 0, passages: 0 };
  return worker.line((line) => {
    const said = JSON.parse(line.startsWith("{") ? line : "{}") as Progress & { readonly msg?: string };
    if (said.msg === "documents ingested") return last;
    if (said.msg !== "ingesting documents") return undefined;
    last = { documents: said.documents, total: said.total, passages: said.passages };
    onProgress(last);
    return undefined;
  }, 600_000);
}

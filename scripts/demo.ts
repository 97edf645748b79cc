/**
 * `npm run demo`: starts the real service as separate processes and drives the whole story through the official SDK.
 * It then serves until Ctrl-C; with `--exit` it ends, with 0 only if every claim of the story was verified.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { startCast } from "./demo/cast.ts";
import type { Cast } from "./demo/cast.ts";
import { openDesk } from "./demo/desk.ts";
import { createNarrator } from "./demo/narrator.ts";
import type { Narrator } from "./demo/narrator.ts";
import { PROJECT } from "./demo/process.ts";
import { tell } from "./demo/story.ts";

const OWN_DOCUMENTS = join(PROJECT, "graphs/policy-desk/documents");
const QUESTION = "How long is a gift card valid?";
const PORT = 2024;

const HELP = `npm run demo -- [--exit] [--documents <folder>] [--question <text>] [--port <port>] [--data-dir <folder>] [--keep]

  --exit        end after the story: 0 if every step was verified, 1 otherwise
  --documents   ask about your own Markdown, text or JSONL files
  --question    what to ask of them
  --port        where the service listens (2024, or any free port)
  --data-dir    where everything is kept (.holdpoint/demo), emptied first
  --keep        leave what is there
  --no-honour-keys  negative control: a ledger that pays every call, so that the story must fail

With HOLDPOINT_TABLE and DYNAMODB_ENDPOINT set, the same story on DynamoDB.`;

interface Options {
  readonly exit: boolean;
  readonly keep: boolean;
  readonly documents: string;
  readonly question: string | undefined;
  readonly port: number | undefined;
  readonly dataDir: string;
  readonly honourKeys: boolean;
}

function readOptions(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    allowNegative: true,
    options: {
      exit: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      "honour-keys": { type: "boolean", default: true },
      help: { type: "boolean", short: "h", default: false },
      documents: { type: "string" },
      question: { type: "string" },
      port: { type: "string" },
      "data-dir": { type: "string", default: ".holdpoint/demo" },
    },
  });
  if (values.help) return undefined;
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port < 65_536))
    throw new Error("--port must be a port number");
  return {
    exit: values.exit,
    keep: values.keep,
    documents: resolve(values.documents ?? OWN_DOCUMENTS),
    question: values.question ?? (values.documents === undefined ? QUESTION : undefined),
    port,
    dataDir: resolve(values["data-dir"]),
    honourKeys: values["honour-keys"],
  };
}

/** The usual port, unless somebody else has it. */
async function freePort(): Promise<number> {
  const probe = createServer();
  const taken = new Promise<boolean>((done) => {
    probe.once("error", () => done(true));
    probe.listen(PORT, "127.0.0.1", () => done(false));
  });
  if (await taken) return 0;
  probe.close();
  await once(probe, "close");
  return PORT;
}

function introduce({ narrator, cast }: { readonly narrator: Narrator; readonly cast: Cast }): void {
  const { bold, dim } = narrator.style;
  const processes = [`api ${cast.api.pid}`, `worker ${cast.worker().pid}`, `payment ledger ${cast.ledger.pid}`];
  console.log(`${bold("Holdpoint")}, first light: the policy desk of an outdoor shop that does not exist`);
  console.log(dim(`   service   ${cast.url}`));
  console.log(dim(`   kept in   ${cast.storage}`));
  console.log(dim(`   processes ${processes.join(", ")}`));
  console.log(dim(`   model     offline and extractive: it quotes the documents and writes nothing of its own`));
}

async function serveOn(narrator: Narrator, cast: Cast, stopping: AbortSignal): Promise<void> {
  console.log(`\nThe service goes on at ${narrator.style.bold(cast.url)} until you press Ctrl-C. Try:`);
  console.log(`   curl -s ${cast.url}/runs/wait -H 'content-type: application/json' \\`);
  console.log(
    `     -d '{"assistant_id": "policy-desk", "input": {"question": "What does it cost to resole hiking boots?"}}'`,
  );
  if (!stopping.aborted) await once(stopping, "abort");
  await stopAll(cast);
}

const stopAll = (cast: Cast) => Promise.all([cast.api, cast.worker()].map((service) => service.stop("SIGTERM")));

/** Asks the processes to stop, as an operator would, and sees that they do. */
async function endCleanly(narrator: Narrator, cast: Cast): Promise<void> {
  narrator.step("The end");
  const exits = await stopAll(cast);
  narrator.check(
    "the service ends cleanly on SIGTERM",
    exits.every(({ code }) => code === 0),
    exits,
  );
}

async function main(options: Options, narrator: Narrator, stopping: AbortSignal): Promise<void> {
  const began = performance.now();
  await using cast = await startCast({ ...options, port: options.port ?? (await freePort()) });
  introduce({ narrator, cast });
  const desk = openDesk(cast.url, cast.ledger.url);
  const firstOrder = options.keep ? randomInt(100_000, 9_000_000) : 1001;
  const ended = once(stopping, "abort").then(() => {
    throw new Error("interrupted");
  });
  try {
    await Promise.race([
      tell({ narrator, cast, desk, documents: options.documents, question: options.question, firstOrder }),
      ended,
    ]);
    if (options.exit) await endCleanly(narrator, cast);
  } catch (error) {
    console.log(narrator.style.dim(`   What the processes said is in ${relative(process.cwd(), cast.logs)}`));
    throw error;
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(
    `\n${narrator.style.green("✓")} ${narrator.style.bold(`${narrator.checks.length} of ${narrator.checks.length} claims verified`)} in ${seconds} s`,
  );
  if (!options.exit) await serveOn(narrator, cast, stopping);
}

const narrator = createNarrator({
  write: (text) => void process.stdout.write(text),
  isTTY: process.stdout.isTTY,
  colours: process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "",
  columns: process.stdout.columns ?? 90,
});
try {
  const options = readOptions(process.argv.slice(2));
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  if (options === undefined) console.log(HELP);
  else await main(options, narrator, stop.signal);
} catch (error) {
  console.error(
    `\n${narrator.style.red("✗")} The demonstration failed at ${narrator.current}: ${error instanceof Error ? error.message : String(error)}`,
  );
  process.exitCode = 1;
}

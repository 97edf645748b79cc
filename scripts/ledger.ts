/**
 * The payment ledger of the demonstration: a real process of its own, with its own file, that pays refunds. It keeps
 * every call, so that a payment that was asked for twice shows, and one that was made twice shows as two payments.
 *
 *   POST /refunds          Idempotency-Key: <key>, {"order", "amount", "currency", "reason"?}
 *   GET  /refunds?order=   {"refunds": [...], "calls": n}
 *
 * Run as `node scripts/ledger.ts [--port 0] [--file ledger.db] [--no-honour-keys] [--drop-replies n]`. Its first line
 * of output ends with its address.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import { z } from "zod";

interface LedgerOptions {
  /** Path of the SQLite file; `:memory:` for none. */
  readonly file: string;
  /** False: every call is paid, whatever its key. The negative control of who must not rely on the far side. */
  readonly honourKeys: boolean;
  /** So many payments are made and their connections then cut without an answer. */
  readonly dropReplies: number;
}

const Refund = z.strictObject({
  order: z.string().min(1).max(100),
  amount: z
    .number()
    .positive()
    .max(1_000_000)
    .refine((amount) => Math.abs(amount * 100 - Math.round(amount * 100)) < 1e-6, "has more than two decimals"),
  currency: z.enum(["EUR"]),
  reason: z.string().max(1_000).optional(),
});
type Refund = z.infer<typeof Refund>;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS payments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, "order" TEXT NOT NULL, cents INTEGER NOT NULL,
    currency TEXT NOT NULL, reason TEXT, paidAt TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS payments_by_key ON payments (key);
  CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, at TEXT NOT NULL) STRICT;
`;

/** The answer to one request. */
interface Answer {
  readonly status: number;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>>;
}

class Ledger {
  readonly #db: DatabaseSync;
  readonly #honourKeys: boolean;

  constructor({ file, honourKeys }: LedgerOptions) {
    this.#db = new DatabaseSync(file, { timeout: 5_000 });
    this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    this.#db.exec(SCHEMA);
    this.#honourKeys = honourKeys;
  }

  /** Pays, or repeats what it answered when it paid under this key. One transaction: a kill leaves all of it or nothing. */
  pay(key: string, refund: Refund): Answer {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const answer = this.#payOnce(key, refund);
      this.#db.exec("COMMIT");
      return answer;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #payOnce(key: string, { order, amount, currency, reason }: Refund): Answer {
    const at = new Date().toISOString();
    const cents = Math.round(amount * 100);
    this.#db.prepare("INSERT INTO calls (key, at) VALUES (?, ?)").run(key, at);
    const [before] = this.#honourKeys ? this.#payments("key = ?", key) : [];
    if (before === undefined) {
      this.#db
        .prepare(`INSERT INTO payments (key, "order", cents, currency, reason, paidAt) VALUES (?, ?, ?, ?, ?, ?)`)
        .run(key, order, cents, currency, reason ?? null, at);
      return { status: 201, body: this.#payments("number = last_insert_rowid()")[0] ?? {} };
    }
    if (before.order === order && before.amount === amount && before.currency === currency) {
      return { status: 200, body: before, headers: { "Idempotency-Replayed": "true" } };
    }
    return refusal(409, `the key was used for another refund: ${before.order}, ${before.amount} ${before.currency}`);
  }

  list(order: string | null): Answer {
    const refunds = order === null ? this.#payments("TRUE") : this.#payments(`"order" = ?`, order);
    const calls = Number(this.#db.prepare("SELECT count(*) AS n FROM calls").get()?.["n"] ?? 0);
    return { status: 200, body: { refunds, calls } };
  }

  #payments(condition: string, ...values: readonly string[]) {
    const rows = this.#db
      .prepare(
        `SELECT *, (SELECT count(*) FROM calls c WHERE c.key = p.key) AS calls FROM payments p WHERE ${condition}
         ORDER BY number`,
      )
      .all(...values);
    return rows.map((row) => ({
      reference: `R-${String(row["number"]).padStart(6, "0")}`,
      key: String(row["key"]),
      order: String(row["order"]),
      amount: Number(row["cents"]) / 100,
      currency: String(row["currency"]),
      ...(row["reason"] === null ? {} : { reason: String(row["reason"]) }),
      paidAt: String(row["paidAt"]),
      calls: Number(row["calls"]),
    }));
  }

  close(): void {
    this.#db.close();
  }
}

const refusal = (status: number, error: string): Answer => ({ status, body: { error } });
const MOST_BYTES = 100_000;

async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MOST_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function answerTo(ledger: Ledger, request: IncomingMessage): Promise<Answer> {
  const url = new URL(request.url ?? "/", "http://ledger");
  if (url.pathname !== "/refunds") return refusal(404, "there is only /refunds");
  if (request.method === "GET") return ledger.list(url.searchParams.get("order"));
  if (request.method !== "POST") return refusal(405, "GET or POST");
  const key = request.headers["idempotency-key"];
  if (typeof key !== "string" || key === "") return refusal(400, "the header Idempotency-Key is missing");
  const body = await bodyOf(request);
  if (body === undefined) return refusal(413, `the body is larger than ${MOST_BYTES} bytes`);
  const refund = parseRefund(body);
  return refund instanceof Error ? refusal(422, refund.message) : ledger.pay(key, refund);
}

function parseRefund(body: string): Refund | Error {
  try {
    const parsed = Refund.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data : new Error(z.prettifyError(parsed.error));
  } catch {
    return new Error("the body is not JSON");
  }
}

/** A ledger that listens once its server is told to. Closing the server closes its file. */
function createLedger(options: LedgerOptions): Server {
  const ledger = new Ledger(options);
  let toDrop = options.dropReplies;
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { status, body, headers = {} } = await answerTo(ledger, request);
    if (status === 201 && toDrop > 0) {
      toDrop -= 1;
      request.socket.destroy();
      return;
    }
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(`${JSON.stringify(body)}\n`);
  };
  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.on("close", () => ledger.close());
  return server;
}

function main(): void {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      port: { type: "string", default: "0" },
      file: { type: "string", default: ":memory:" },
      "honour-keys": { type: "boolean", default: true },
      "drop-replies": { type: "string", default: "0" },
    },
  });
  const { file } = values;
  const server = createLedger({ file, honourKeys: values["honour-keys"], dropReplies: Number(values["drop-replies"]) });
  server.on("error", (error) => {
    console.error(`ledger: ${error.message}`);
    process.exitCode = 1;
  });
  server.listen(Number(values.port), "127.0.0.1", () => {
    // A listening TCP server always has one.
    const { port } = server.address() as AddressInfo;
    console.log(`ledger: ${values["honour-keys"] ? "" : "NOT honouring keys, "}listening on http://127.0.0.1:${port}`);
  });
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

if (import.meta.main) main();

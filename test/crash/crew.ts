/** An API process and workers on one table, each replaced as soon as it dies, as an orchestrator does. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { writeKeyFile } from "../../src/local/key-file.ts";
import { emptyKeyFile, withNewKey } from "../../src/storage/api-keys.ts";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { Exit } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import type { Fleet, FleetEngine, FleetStart } from "../support/fleet.ts";
import { armedEnv } from "./armed.ts";
import { openLook } from "./look.ts";
import type { Look, Named } from "./look.ts";
import { openOutside } from "./outside.ts";
import type { Outside } from "./outside.ts";
import { PATIENCE_MS } from "./patient.ts";
import { createFactReader, note } from "./witness.ts";
import type { Fact } from "./witness.ts";

export const TENANTS = ["acme", "globex"] as const;
export type Tenant = (typeof TENANTS)[number];
/** People of each tenant who decide. */
export const PEOPLE = 4;

/** Short, and yet so long that a machine which has more to do than it can does not let live holders lose it in a row. */
export const LEASE_MS = 2_500;

export interface CrewOptions {
  readonly workers: number;
  /** How long a lease is; `LEASE_MS` by default. The checker judges recoveries by it. */
  readonly leaseMs?: number;
  /** How long anything of it is waited for, before it is taken for lost; `PATIENCE_MS` by default. */
  readonly patienceMs?: number;
  /** Threads that one worker advances at once. */
  readonly concurrency?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly apiEnv?: Readonly<Record<string, string>>;
  /** Of all of them, or of the n-th that is started. */
  readonly workerEnv?: Readonly<Record<string, string>> | ((n: number) => Readonly<Record<string, string>>);
  /** False: the tables are the adapters' own, and nothing is witnessed. */
  readonly armed?: boolean;
  readonly honoursKeys?: boolean;
}

export interface Crew extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly leaseMs: number;
  readonly patienceMs: number;
  /** Where orders are placed and facts are left. */
  readonly folder: string;
  readonly outside: Outside;
  /** The table, past every process. */
  readonly look: Look;
  readonly url: () => string;
  /** The headers of one of the tenant's people. */
  headers(tenant: Tenant, person?: number): Readonly<Record<string, string>>;
  facts(): readonly Fact[];
  /** Everything that is known of a thread, for who waits for it in vain. */
  explain(named: Named): Promise<string>;
  /** Workers that are alive now, by process id. */
  workers(): readonly Service[];
  /** SIGKILL; another comes in its place. Resolves once it is gone. */
  kill(service: Service): Promise<void>;
  /** As a deployment does: starts another worker, waits until it is ready, and asks this one to end. Resolves once it has. */
  replace(service: Service): Promise<Exit>;
  killApi(): Promise<void>;
  /** How many processes died and were replaced. */
  readonly deaths: number;
  /** Everything that any of its processes has said. */
  lines(): readonly string[];
}

export async function openCrew(engine: FleetEngine, options: CrewOptions): Promise<Crew> {
  await using opening = new AsyncDisposableStack();
  const { leaseMs = LEASE_MS, patienceMs = PATIENCE_MS } = options;
  const outside = opening.use(await openOutside({ honoursKeys: options.honoursKeys ?? true }));
  const fleet = opening.use(
    await engine.open({
      HOLDPOINT_CONFIG: join(PROJECT, "test/crash/graphs/langgraph.json"),
      HOLDPOINT_TEST_OUTSIDE: outside.url,
      ...options.env,
      // Last: by this the checker judges.
      HOLDPOINT_LEASE_MS: String(leaseMs),
    }),
  );
  const folder = join(fleet.dataDir, "test");
  await mkdir(folder);
  const keys = await makeKeys(join(fleet.dataDir, "keys.json"));
  const armed = options.armed === false ? {} : armedEnv(folder);
  const processes = new Processes(fleet, folder, {
    ...options,
    env: { ...armed, HOLDPOINT_KEYS: join(fleet.dataDir, "keys.json") },
  });
  // Before the fleet is: nobody is to be replaced any more.
  opening.defer(() => processes.close());
  await processes.startApi();
  const look = opening.use(await openLook(fleet.place));
  processes.startWorkers(options.workers);
  const facts = createFactReader(folder);
  const opened = opening.move();
  return {
    fleet,
    leaseMs,
    patienceMs,
    folder,
    outside,
    look,
    url: () => processes.url,
    headers: (tenant, person = 0) => ({ "x-api-key": keys.get(`${tenant} ${person}`) ?? "" }),
    facts,
    explain: async (named) => {
      const { header, runs, holds, logs } = await look.at(named);
      const seen = facts().filter((fact) => "thread" in fact && fact.thread === named.threadId);
      const lines = [header, ...runs, ...holds, ...seen].map((one) => JSON.stringify(one));
      const records = [...logs].flatMap(([ns, log]) =>
        log.map(({ seq, kind, fence }) => `record ${seq} of "${ns}": ${kind} of fence ${fence}`),
      );
      return ["", ...lines, ...records, `${processes.workers().length} workers live`].join("\n");
    },
    workers: () => processes.workers(),
    kill: (service) => processes.kill(service),
    replace: (service) => processes.replace(service),
    killApi: () => processes.killApi(),
    get deaths() {
      return processes.deaths;
    },
    lines: () => processes.started.flatMap(({ lines }) => lines),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function makeKeys(path: string): Promise<ReadonlyMap<string, string>> {
  let file = emptyKeyFile(systemIds);
  const keys = new Map<string, string>();
  for (const tenant of TENANTS) {
    for (let person = 0; person < PEOPLE; person++) {
      const owner = { tenant, subject: `${tenant}-${person}`, roles: ["admin"], groups: [] };
      const made = withNewKey(file, systemIds, { ...owner, env: "test", createdAt: systemClock.wall() });
      ({ file } = made);
      keys.set(`${tenant} ${person}`, made.key);
    }
  }
  await writeKeyFile(path, file, systemIds);
  return keys;
}

class Processes {
  readonly #fleet: Fleet;
  readonly #folder: string;
  readonly #options: CrewOptions;
  readonly #workers = new Set<Service>();
  /** Those whose place somebody else has taken before they end. */
  readonly #retired = new Set<Service>();
  #startedWorkers = 0;
  #api: Service | undefined;
  #closed = false;
  readonly started: Service[] = [];
  url = "";
  deaths = 0;

  constructor(fleet: Fleet, folder: string, options: CrewOptions) {
    this.#fleet = fleet;
    this.#folder = folder;
    this.#options = options;
  }

  workers(): readonly Service[] {
    return [...this.#workers];
  }

  async startApi(): Promise<void> {
    this.#keepApi(0);
    const ready = await this.#api?.ready;
    this.url = ready?.url ?? "";
  }

  startWorkers(count: number): void {
    for (let i = 0; i < count; i++) this.#keepWorker();
  }

  async kill(service: Service): Promise<void> {
    note(this.#folder, { is: "killed" }, service.pid);
    await service.stop("SIGKILL");
  }

  async replace(service: Service): Promise<Exit> {
    await this.#keepWorker().ready;
    this.#retired.add(service);
    return service.stop("SIGTERM");
  }

  async killApi(): Promise<void> {
    await this.#api?.stop("SIGKILL");
  }

  close(): void {
    this.#closed = true;
    for (const service of [...this.#workers, this.#api]) service?.signal("SIGKILL");
  }

  #start(options: FleetStart): Service {
    const service = this.#fleet.start({ ...options, env: { ...this.#options.env, ...options.env } });
    this.started.push(service);
    return service;
  }

  #keepApi(port: number): void {
    const service = this.#start({ role: "api", flags: ["--port", String(port)], env: this.#options.apiEnv ?? {} });
    this.#api = service;
    void service.exited.then(() => {
      if (this.#closed) return;
      this.deaths += 1;
      this.#keepApi(Number(new URL(this.url).port));
    });
  }

  #keepWorker(): Service {
    const { concurrency = 10, workerEnv = {} } = this.#options;
    const service = this.#start({
      role: "worker",
      env: {
        HOLDPOINT_CONCURRENCY: String(concurrency),
        ...(typeof workerEnv === "function" ? workerEnv(this.#startedWorkers++) : workerEnv),
      },
    });
    this.#workers.add(service);
    void service.exited.then(() => {
      this.#workers.delete(service);
      if (this.#closed || this.#retired.has(service)) return;
      note(this.#folder, { is: "died" }, service.pid);
      this.deaths += 1;
      this.#keepWorker();
    });
    return service;
  }
}

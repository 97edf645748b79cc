/** What only the embedded table promises: group commit, durability, and several processes on one file. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { isHoldpointError } from "../../src/core/errors.ts";
import { systemIds } from "../../src/core/ids.ts";
import { decodeAttributes } from "../../src/local/sqlite-attributes.ts";
import { createCommits } from "../../src/local/sqlite-commits.ts";
import { openFile } from "../../src/local/sqlite-file.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import type { SqliteTableOptions } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { sqliteEngine } from "../support/engines.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { testFolder } from "../support/process.ts";
import { startTableProcess } from "../support/table-process.ts";

const open = (path: string, options: Partial<SqliteTableOptions> = {}): Promise<Table> =>
  createSqliteTable({ path, clock: systemClock, ids: systemIds, ...options });
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("writes to the embedded table", () => {
  it("that are asked for in one turn share one transaction, in their order", async () => {
    await using folder = await testFolder();
    const commits: number[] = [];
    await using table = await open(join(folder.path, "t.db"), { onCommit: (writes) => commits.push(writes) });
    const key = { pk: "p", sk: "s" };
    const puts = Array.from({ length: 60 }, (_, n) =>
      table.put({ ...key, sk: `${n % 30}`, attributes: { n } }, "absent"),
    );
    const removing = table.remove({ pk: "p", sk: "0" }, "any");
    const again = table.put({ pk: "p", sk: "0", attributes: { n: "again" } }, "absent");
    const results = await Promise.all(puts);
    expect(commits).toEqual([62]);
    expect(results.map((result) => result.won)).toEqual([
      ...Array<boolean>(30).fill(true),
      ...Array<boolean>(30).fill(false),
    ]);
    expect(await removing).toEqual({ outcome: "removed" });
    expect(await again).toMatchObject({ won: true });
    await table.put({ ...key, attributes: {} }, "any");
    expect(commits).toEqual([62, 1]);
  });

  it("that one transaction cannot hold are spread over several", async () => {
    await using folder = await testFolder();
    const commits: number[] = [];
    await using table = await open(join(folder.path, "t.db"), { onCommit: (writes) => commits.push(writes) });
    await table.batchPut(Array.from({ length: 1200 }, (_, n) => ({ pk: "p", sk: `${n}`, attributes: {} })));
    expect(commits).toEqual([500, 500, 200]);
    expect((await table.query("p", {})).items).toHaveLength(1200);
  });

  it("survive that the process is killed right after they were acknowledged", async () => {
    await using folder = await testFolder();
    const place = { kind: "sqlite", path: join(folder.path, "t.db") } as const;
    const acknowledged: string[] = [];
    {
      await using writer = startTableProcess({ do: "put", place, pk: "p" });
      expect(await writer.line()).toBe("ready");
      writer.go();
      while (acknowledged.length < 60) acknowledged.push(await writer.line());
      writer.child.kill("SIGKILL");
    }
    await using table = await open(place.path);
    const keys = acknowledged.map((sk) => ({ pk: "p", sk }));
    expect(await table.batchGet(keys)).toHaveLength(acknowledged.length);
  });

  it("wait for another process's lock without blocking this one, and then land", async () => {
    await using opened = await sqliteEngine.open();
    await using holder = startTableProcess({ do: "lock", path: opened.place.path });
    expect(await holder.line()).toBe("locked");
    let settled = false;
    const putting = opened.table
      .put({ pk: "p", sk: "s", attributes: { n: 1 } }, "absent")
      .finally(() => (settled = true));
    const until = systemClock.monotonic() + 300;
    let turns = 0;
    while (systemClock.monotonic() < until) {
      await turn();
      turns++;
    }
    expect(settled).toBe(false);
    expect(turns).toBeGreaterThan(30);
    expect(await opened.table.get({ pk: "p", sk: "s" })).toBeUndefined();
    holder.go();
    expect(await putting).toMatchObject({ won: true });
    expect(await opened.table.get({ pk: "p", sk: "s" })).toMatchObject({ attributes: { n: 1 } });
  });

  it("fail as `unavailable`, having changed nothing, when the lock is held for too long", async () => {
    await using opened = await sqliteEngine.open();
    await using impatient = await open(opened.place.path, { busyRetryMs: 50 });
    await using holder = startTableProcess({ do: "lock", path: opened.place.path });
    expect(await holder.line()).toBe("locked");
    const puts = ["a", "b"].map((sk) => impatient.put({ pk: "p", sk, attributes: {} }, "absent"));
    for (const put of puts) await expect(put).rejects.toMatchObject({ code: "unavailable" });
    holder.go();
    expect(await opened.table.put({ pk: "p", sk: "a", attributes: {} }, "absent")).toMatchObject({ won: true });
    expect(await impatient.put({ pk: "p", sk: "b", attributes: {} }, "absent")).toMatchObject({ won: true });
  });

  it("fail for all of a transaction that could not be committed", async () => {
    await using opened = await sqliteEngine.open();
    using saboteur = new DatabaseSync(opened.place.path);
    saboteur.exec(`CREATE TRIGGER sabotage BEFORE INSERT ON items WHEN NEW.sk = 'bad'
      BEGIN SELECT RAISE(ROLLBACK, 'sabotaged'); END`);
    const puts = ["a", "bad", "c"].map((sk) => opened.table.put({ pk: "p", sk, attributes: {} }, "absent"));
    for (const put of puts) await expect(put).rejects.toMatchObject({ code: "unavailable" });
    expect((await opened.table.query("p", {})).items).toEqual([]);
    expect(await opened.table.put({ pk: "p", sk: "a", attributes: {} }, "absent")).toMatchObject({ won: true });
  });

  it("are refused once the table is closed, and those before it have landed", async () => {
    await using folder = await testFolder();
    const table = await open(join(folder.path, "t.db"));
    const putting = table.put({ pk: "p", sk: "s", attributes: {} }, "absent");
    await table[Symbol.asyncDispose]();
    expect(await putting).toMatchObject({ won: true });
    await expect(table.put({ pk: "p", sk: "s", attributes: {} }, "any")).rejects.toMatchObject({ code: "unavailable" });
    await expect(table.get({ pk: "p", sk: "s" })).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("a disk that is full", () => {
  /** The commits of a file that may not grow, as SQLite itself finds it. */
  async function openFull(path: string) {
    const db = openFile(path);
    const insert = db.prepare(
      "INSERT INTO items (pk, sk, version, write_id, format, attributes) VALUES ('p', ?, 1, '', 1, ?)",
    );
    const count = db.prepare("SELECT count(*) AS n FROM items");
    const commits = createCommits({
      db,
      path,
      clock: systemClock,
      ids: systemIds,
      patienceMs: 1000,
      housekeeping: () => {},
      onCommit: undefined,
    });
    const setPages = (pages: number): void => db.exec(`PRAGMA max_page_count = ${pages}`);
    setPages(20);
    return {
      put: (sk: string, characters: number) =>
        commits.write(() => insert.run(sk, JSON.stringify({ x: "x".repeat(characters) })).changes),
      rows: () => Number(count.get()?.["n"]),
      makeRoom: () => setPages(1000),
      [Symbol.dispose]: () => db.close(),
    };
  }

  it("is `unavailable` and says so; what was acknowledged is there, and writes land again once there is space", async () => {
    await using folder = await testFolder();
    const path = join(folder.path, "t.db");
    using file = await openFull(path);
    await file.put("before", 10);
    const puts = ["a", "b", "c"].map((sk) => file.put(sk, 50_000));
    for (const put of puts) {
      await expect(put).rejects.toMatchObject({ code: "unavailable" });
      await expect(put).rejects.toThrow(`a write to ${path} failed: the disk that holds ${path} is full`);
    }
    expect(file.rows()).toBe(1);
    file.makeRoom();
    expect(await file.put("a", 50_000)).toBe(1);
    expect(file.rows()).toBe(2);
  });
});

describe("the embedded table", () => {
  it("lives by the clock it is given and gives the space of expired items back", async () => {
    await using folder = await testFolder();
    const clock = createManualClock();
    const path = join(folder.path, "t.db");
    await using table = await open(path, { clock });
    const expiresAt = table.now() + 1000;
    await table.batchPut(Array.from({ length: 150 }, (_, n) => ({ pk: "p", sk: `${n}`, attributes: {}, expiresAt })));
    clock.advance(999);
    expect((await table.query("p", {})).items).toHaveLength(150);
    clock.advance(1);
    expect(table.now()).toBe(expiresAt);
    expect((await table.query("p", {})).items).toEqual([]);
    clock.advance(60_000);
    for (let n = 0; n < 3; n++) await table.put({ pk: "other", sk: "s", attributes: {} }, "any");
    using file = new DatabaseSync(path, { readOnly: true });
    expect(file.prepare("SELECT count(*) AS n FROM items").get()).toEqual({ n: 1 });
  });

  it("is made once when several processes open a new file at the same time", async () => {
    await using folder = await testFolder();
    const place = { kind: "sqlite", path: join(folder.path, "new", "t.db") } as const;
    const task = { do: "increment", place, key: { pk: "p", sk: "s" }, times: 20, lanes: 2 } as const;
    await using processes = new AsyncDisposableStack();
    const started = Array.from({ length: 3 }, () => processes.use(startTableProcess(task)));
    expect(await Promise.all(started.map((each) => each.line()))).toEqual(["ready", "ready", "ready"]);
    for (const each of started) each.go();
    await Promise.all(started.map((each) => each.line()));
    await using table = await open(place.path);
    expect((await table.get(task.key))?.attributes).toEqual({ n: 60 });
  });

  it("tells that another handle has changed the file, and does not count its own writes", async () => {
    await using opened = await sqliteEngine.open();
    const other = await opened.another();
    const before = opened.table.changes?.();
    await opened.table.put({ pk: "p", sk: "own", attributes: {} }, "any");
    expect(opened.table.changes?.()).toBe(before);
    await other.put({ pk: "p", sk: "other", attributes: {} }, "any");
    expect(opened.table.changes?.()).not.toBe(before);
  });

  it("keeps names that JavaScript treats as its own", async () => {
    await using opened = await sqliteEngine.open();
    const inner = Object.fromEntries([["__proto__", Uint8Array.of(1)]]);
    await opened.table.put({ pk: "p", sk: "s", attributes: { inner } }, "any");
    const item = await opened.table.get({ pk: "p", sk: "s" });
    expect(Object.entries(item?.attributes["inner"] ?? {})).toEqual([["__proto__", Uint8Array.of(1)]]);
  });

  it("reads rows of format 1, and says so when a row has none that it knows", () => {
    const places = JSON.stringify([
      [["b"], 2],
      [["l", 1, "x"], 1],
    ]);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(places.length);
    const bytes = Buffer.concat([length, Buffer.from(places), Buffer.of(7, 8, 9)]);
    const decoded = decodeAttributes(1, '{"b":null,"l":[null,{"x":null}],"s":"é"}', new Uint8Array(bytes));
    expect(decoded).toEqual({
      b: Uint8Array.of(7, 8),
      l: [null, { x: Uint8Array.of(9) }],
      s: "é",
    });
    expect(() => decodeAttributes(2, "{}", null)).toThrow(expect.objectContaining({ code: "corrupt" }));
  });
});

describe("opening the embedded table says in one line what is wrong with", () => {
  const failure = async (path: string): Promise<string> => {
    try {
      await using _table = await open(path);
    } catch (error) {
      if (isHoldpointError(error)) return `${error.code}: ${error.message}`;
    }
    throw new Error("it was opened");
  };

  it("a folder that cannot be made", async () => {
    await using folder = await testFolder();
    await writeFile(join(folder.path, "file"), "");
    const path = join(folder.path, "file", "t.db");
    expect(await failure(path)).toMatch(/^unavailable: cannot open the table [^\n]*$/);
    expect(await failure(path)).toContain(path);
  });

  it.runIf(process.platform === "linux")("says so of a folder on a file system that makes none", async () => {
    expect(await failure("/proc/nowhere/deep/t.db")).toMatch(/^unavailable: cannot open the table [^\n]*$/);
  });

  it("a path that is a folder", async () => {
    await using folder = await testFolder();
    const path = join(folder.path, "t.db");
    await mkdir(path);
    expect(await failure(path)).toBe(`unavailable: cannot open the table ${path}: unable to open database file`);
  });

  it("a file that is no database", async () => {
    await using folder = await testFolder();
    const path = join(folder.path, "t.db");
    await writeFile(path, "Dear diary, ".repeat(500));
    expect(await failure(path)).toBe(`corrupt: ${path} is not a SQLite database`);
  });

  it("a database of something else", async () => {
    await using folder = await testFolder();
    const path = join(folder.path, "t.db");
    using db = new DatabaseSync(path);
    db.exec("CREATE TABLE diary (day TEXT)");
    expect(await failure(path)).toBe(`corrupt: ${path} is a SQLite database, but not one of Holdpoint's`);
  });

  it("a file of a newer version", async () => {
    await using opened = await sqliteEngine.open();
    const { path } = opened.place;
    using db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    expect(await failure(path)).toMatch(
      /^unsupported: .* was written by a newer Holdpoint \(schema 99, this one knows 1\)/,
    );
    expect(await failure(path)).toContain(path);
  });
});

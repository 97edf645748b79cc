/** The hard suite on our saver and on those of others: who passes what, and why not. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureTable } from "../../src/aws/table-definition.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import type { Table } from "../../src/storage/table.ts";
import { hardCases, runHardCase } from "../../test/support/hard-suite/suite.ts";
import type { Result, Subject } from "../../test/support/hard-suite/suite.ts";
import { fencedSubject, memorySubject } from "../../test/support/hard-subjects.ts";
import { dynamoOptions, openPlace } from "../../test/support/table-place.ts";
import type { TablePlace } from "../../test/support/table-place.ts";
import { ENGINES, openEngine } from "../fleet/fleet.ts";
import { readOptions } from "../support/options.ts";
import { textTable } from "../support/stats.ts";
import { rwaiSubject, sqliteSubject } from "./peer-savers.ts";

const LINE = {
  name: "hard-suite",
  about: "What checkpoint savers must not do, case by case: ours, MemorySaver, LangChain's on SQLite, and rwai's.",
  options: {
    engine: { fallback: "best", says: `where the savers for DynamoDB run: ${ENGINES}` },
    only: { fallback: "all", says: "ours, peers or all" },
    case: { fallback: "", says: "only cases whose name contains this" },
  },
} as const;

/** Two handles on one table, which the savers take by turns. */
async function twoHandles(place: TablePlace, stack: AsyncDisposableStack): Promise<() => Promise<Table>> {
  const handles = [stack.use(await openPlace(place)), stack.use(await openPlace(place))] as const;
  let taken = 0;
  return async () => handles[(taken += 1) % 2 === 0 ? 0 : 1];
}

async function ourSubjects(dir: string, endpoint: string | undefined, stack: AsyncDisposableStack): Promise<Subject[]> {
  const sqlite = await twoHandles({ kind: "sqlite", path: join(dir, "ours.db") }, stack);
  const blobs = createFolderBlobs({ dir: join(dir, "blobs") });
  const onSqlite = fencedSubject({ name: "ours, SQLite", tenant: "bench", blobs, handle: sqlite });
  if (endpoint === undefined) return [onSqlite];
  const at = { endpoint, tableName: `bench-${systemIds.token(8)}` };
  await ensureTable(dynamoOptions(at));
  const handle = await twoHandles({ kind: "dynamo", ...at }, stack);
  return [onSqlite, fencedSubject({ name: "ours, DynamoDB", tenant: "bench", blobs: "items", handle })];
}

async function peerSubjects(
  dir: string,
  endpoint: string | undefined,
  stack: AsyncDisposableStack,
): Promise<Subject[]> {
  const sqlite = stack.use(await sqliteSubject(dir));
  return [memorySubject(), sqlite, ...(endpoint === undefined ? [] : [await rwaiSubject(endpoint)])];
}

const WORDS = { pass: "pass", fail: "FAILS", "not applicable": "-" } as const;

/** One row a case, one column a saver. */
function tableOf(subjects: readonly Subject[], results: readonly (readonly Result[])[]): string {
  const [first = []] = results;
  const rows = first.map(({ name }, n) => [name, ...results.map((of) => WORDS[of[n]?.outcome ?? "not applicable"])]);
  const count = (of: readonly Result[]): string => {
    const applicable = of.filter(({ outcome }) => outcome !== "not applicable");
    return `${applicable.filter(({ outcome }) => outcome === "pass").length} of ${applicable.length}`;
  };
  return textTable([["", ...subjects.map(({ name }) => name)], ...rows, ["passed", ...results.map(count)]]);
}

function reasonsOf(subject: Subject, results: readonly Result[]): readonly string[] {
  const lines = results.flatMap((result) => {
    if (result.outcome === "pass") return [];
    const mark = result.outcome === "fail" ? "" : " (not applicable)";
    return [`  ${result.name}${mark}\n      ${result.reason}`];
  });
  return lines.length === 0 ? [] : [`\n${subject.name}`, ...lines];
}

/** Puts the savers through the suite, and prints the table and the reasons. 1 when ours fails a case. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  if (!["all", "ours", "peers"].includes(values.only)) throw new Error("--only is ours, peers or all");
  const cases = hardCases.filter(({ name }) => name.includes(values.case));
  if (cases.length === 0) throw new Error(`no case's name contains '${values.case}'`);
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-hard-suite-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const { endpoint } = stack.use(await openEngine(values.engine));
  const ours = values.only === "peers" ? [] : await ourSubjects(dir, endpoint, stack);
  const peers = values.only === "ours" ? [] : await peerSubjects(dir, endpoint, stack);
  const subjects = [...ours, ...peers];
  const results: Result[][] = [];
  for (const subject of subjects) {
    console.log(`${subject.name} ...`);
    const of: Result[] = [];
    for (const one of cases) of.push(await runHardCase(subject, one));
    results.push(of);
  }
  console.log(`\n${tableOf(subjects, results)}`);
  for (const [n, subject] of subjects.entries())
    for (const line of reasonsOf(subject, results[n] ?? [])) console.log(line);
  return results
    .slice(0, ours.length)
    .flat()
    .some(({ outcome }) => outcome === "fail")
    ? 1
    : 0;
}

/** Histories of several pages: cursor, limit, filter and namespace. */
import { configOf } from "../checkpoints.ts";
import { expectSame } from "./expect.ts";
import { idOf, idsOf, listed, newThread, putChain, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

const LENGTH = 130;
const PAGE = 25;

async function pages(subject: Subject): Promise<void> {
  const thread = newThread();
  const configs = await putChain(await subject.open(), thread, LENGTH);
  const newestFirst = configs.map(idOf).toReversed();
  const reader = await subject.open();
  expectSame("the whole list", idsOf(await listed(reader, configOf(thread))), newestFirst);
  const paged: string[] = [];
  for (let before: ReturnType<typeof configOf> | undefined; ;) {
    const options = { limit: PAGE, ...(before === undefined ? {} : { before }) };
    const page = await listed(await subject.open(), configOf(thread), options);
    if (page.length === 0) break;
    paged.push(...idsOf(page));
    before = page.at(-1)?.config;
    if (paged.length > LENGTH) break;
  }
  expectSame("the list, page by page", paged, newestFirst);
  const tuples = await listed(reader, configOf(thread), { limit: 3, before: configOf(thread, newestFirst[100]) });
  const values = tuples.map(({ checkpoint }) => checkpoint.channel_values);
  expectSame("values deep in the list", values, [{ n: LENGTH - 101 }, { n: LENGTH - 102 }, { n: LENGTH - 103 }]);
  const parents = tuples.map(({ parentConfig }) => idOf(parentConfig));
  expectSame("parents deep in the list", parents, newestFirst.slice(102, 105));
}

const OWNER = { team: { name: "a" }, ids: [1, 2] };

/** A thread of which every fortieth checkpoint is rare; answers how to find some, and the ids of the rare, newest first. */
async function labelled(subject: Subject) {
  const thread = newThread();
  const saver = await subject.open();
  let from = configOf(thread);
  const wanted: string[] = [];
  for (let n = 1; n <= LENGTH; n += 1) {
    const isRare = n % 40 === 1;
    const metadata = { rare: isRare, owner: { team: { name: isRare ? "a" : "b" }, ids: [1, isRare ? 2 : 3] } };
    from = await putStep(saver, from, { values: { n }, versions: { n }, step: n, metadata });
    if (isRare) wanted.unshift(idOf(from));
  }
  const find = async (options: object): Promise<readonly string[]> =>
    idsOf(await listed(await subject.open(), configOf(thread), options));
  return { thread, wanted, find };
}

async function filters(subject: Subject): Promise<void> {
  const { thread, wanted, find } = await labelled(subject);
  expectSame("by a flat value", await find({ filter: { rare: true } }), wanted);
  // The limit is of what matches, and not of what is looked at.
  expectSame("by a flat value, limited", await find({ filter: { rare: true }, limit: 3 }), wanted.slice(0, 3));
  expectSame("by several", await find({ filter: { rare: true, step: 41 } }), wanted.slice(-2, -1));
  expectSame("by what there is not", await find({ filter: { rare: "true" } }), []);
  const before = configOf(thread, wanted[1]);
  expectSame("by a flat value, before", await find({ filter: { rare: true }, before }), wanted.slice(2));
}

async function nestedFilters(subject: Subject): Promise<void> {
  const { wanted, find } = await labelled(subject);
  expectSame("by a nested value", await find({ filter: { owner: OWNER } }), wanted);
  const both = { owner: OWNER, rare: true };
  expectSame("by a nested value and another, limited", await find({ filter: both, limit: 2 }), wanted.slice(0, 2));
  expectSame("by another nested value", await find({ filter: { owner: { ...OWNER, ids: [2, 1] } } }), []);
}

async function namespaces(subject: Subject): Promise<void> {
  const thread = newThread();
  const saver = await subject.open();
  const spaces = ["", "sub:1", "sub:2", "sub:1|inner:1"];
  const root = await putStep(saver, configOf(thread), { values: { where: "" } });
  // A subgraph may use the checkpoint id of its parent, and a task id of another namespace.
  for (const ns of spaces.slice(1)) {
    await putStep(saver, configOf(thread, undefined, ns), { id: idOf(root), values: { where: ns } });
  }
  for (const ns of spaces) await saver.putWrites(configOf(thread, idOf(root), ns), [["where", ns]], taskId(1));
  const reader = await subject.open();
  for (const ns of spaces) {
    const at = configOf(thread, undefined, ns);
    expectSame(`the latest of '${ns}'`, await valuesAt(reader, at), { where: ns });
    expectSame(`by id in '${ns}'`, await valuesAt(reader, configOf(thread, idOf(root), ns)), { where: ns });
    expectSame(`the writes of '${ns}'`, await writesAt(reader, at), [[taskId(1), "where", ns]]);
    const found = (await listed(reader, at)).map(({ checkpoint }) => checkpoint.channel_values);
    expectSame(`the list of '${ns}'`, found, [{ where: ns }]);
  }
  expectSame("the list without a namespace", (await listed(reader, { configurable: { thread_id: thread } })).length, 4);
}

export const listCases: readonly HardCase[] = [
  { name: "a list of several pages is whole, by limit and cursor", run: pages },
  { name: "a list is filtered by metadata, and limited to what matches", run: filters },
  { name: "a list is filtered by nested metadata", run: nestedFilters },
  { name: "namespaces of one thread stay apart, also where ids are the same", run: namespaces },
];

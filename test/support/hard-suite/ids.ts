/** Thread ids that keys, patterns and paths are broken with. */
import { uuid6 } from "@langchain/langgraph-checkpoint";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { configOf } from "../checkpoints.ts";
import { expectSame, expectThat, refused } from "./expect.ts";
import { idOf, idsOf, listed, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

/** Endings of one thread id. What comes after it must matter to the last bit. */
const ENDINGS: readonly (readonly [what: string, ending: string])[] = [
  ["nothing", ""],
  ["#", "#"],
  ["#H", "#H"],
  ["%", "%"],
  ["%23", "%23"],
  ["%2523", "%2523"],
  ["%~", "%~"],
  ["_", "_"],
  ["*", "*"],
  ["NUL", "\u0000"],
  ["NUL x", "\u0000x"],
  ["an emoji", "👩‍🚀"],
  ["half of that emoji", "👩"],
  ["é composed", "\u00e9"],
  ["é decomposed", "e\u0301"],
  ["upper case", "A"],
  ["lower case", "a"],
  ["a space", " "],
  ["a line break", "\n"],
  ["a path", "/../other"],
  ["quotes", `'"\``],
  ["the last code point", "\u{10FFFF}"],
  ["1 KB", "x".repeat(1000)],
  ["1 KB and another last letter", `${"x".repeat(999)}y`],
  ["1 KB of emoji", "🚀".repeat(250)],
];

async function awkward(subject: Subject): Promise<void> {
  const base = newThread();
  const threads = ENDINGS.map(([what, ending]) => ({ what, thread: `${base}${ending}` }));
  const saver = await subject.open();
  for (const { what, thread } of threads) {
    try {
      const config = await putStep(saver, configOf(thread), { values: { what } });
      await saver.putWrites(config, [["what", what]], taskId(1));
    } catch (error) {
      throw new Error(`a thread id that ends with ${what} is refused: ${String(error)}`, { cause: error });
    }
  }
  const check = async (those: readonly { readonly what: string; readonly thread: string }[]): Promise<void> => {
    const reader = await subject.open();
    for (const { what, thread } of those) {
      expectSame(`with ${what}`, await valuesAt(reader, configOf(thread)), { what });
      expectSame(`writes with ${what}`, await writesAt(reader, configOf(thread)), [[taskId(1), "what", what]]);
      const tuples = await listed(reader, configOf(thread));
      expectSame(
        `the list with ${what}`,
        tuples.map(({ checkpoint }) => checkpoint.channel_values),
        [{ what }],
      );
      expectSame(`the id with ${what}`, tuples[0]?.config.configurable?.["thread_id"], thread);
    }
  };
  await check(threads);
  if (!canDelete(saver)) return;
  // Every second one goes, and takes nothing of the others with it.
  for (const { thread } of threads.filter((_, n) => n % 2 === 0)) await saver.deleteThread(thread);
  await check(threads.filter((_, n) => n % 2 === 1));
}

/** What UTF-8 cannot say: two such ids are one, once they are written. Refusing them is as good as keeping them apart. */
async function unpaired(subject: Subject): Promise<void> {
  const base = newThread();
  const saver = await subject.open();
  const accepted: string[] = [];
  for (const ending of ["\uD800", "\uD801", "\uFFFD", "\uDC00"]) {
    const thread = `${base}${ending}`;
    if (!(await refused(putStep(saver, configOf(thread), { values: { thread } })))) accepted.push(thread);
  }
  expectThat("a thread id of plain text is refused", accepted.includes(`${base}\uFFFD`));
  for (const thread of accepted) {
    const shown = Array.from(thread.slice(base.length), (char) => char.codePointAt(0)?.toString(16)).join(" ");
    const found = (await listed(await subject.open(), configOf(thread))).length;
    expectSame(`checkpoints of the thread id that ends with U+${shown}`, found, 1);
  }
}

/** Savers for older versions of LangGraph lack it; that is another case's matter. */
const canDelete = (saver: BaseCheckpointSaver): boolean => typeof Reflect.get(saver, "deleteThread") === "function";

const SEPARATORS = ["#", ":::", "::", ":", "|", "/", "\u0000", "%23", "%", "_", "$", ",", '","', "##", "#0#", "\u001f"];

/** Parts of an address that, joined by some separator, would be the same text. */
async function crafted(subject: Subject): Promise<void> {
  const saver = await subject.open();
  const ids = [uuid6(1), uuid6(2)] as const;
  for (const by of SEPARATORS) {
    const base = newThread();
    const places = [
      [base, `x${by}y`, ids[0]],
      [`${base}${by}x`, "y", ids[0]],
      [base, `x`, ids[0]],
      [`${base}${by}x${by}y`, "", ids[0]],
      [base, "", ids[0]],
      [`${base}${by}${ids[0]}`, "", ids[1]],
      [`${base}${by}`, "", ids[0]],
      [`${base}${by}${by}`, "", ids[0]],
    ] as const;
    const values = (n: number) => ({ place: n });
    for (const [n, [thread, ns, id]] of places.entries()) {
      const config = await putStep(saver, configOf(thread, undefined, ns), { id, values: values(n) });
      await saver.putWrites(config, [["place", n]], taskId(1));
    }
    const check = async (ns: readonly number[]): Promise<void> => {
      const reader = await subject.open();
      for (const n of ns) {
        const place = places[n];
        if (place === undefined) continue;
        const at = configOf(place[0], undefined, place[1]);
        const what = `with '${by}' between the parts, place ${n}`;
        expectSame(what, await valuesAt(reader, at), values(n));
        expectSame(`writes ${what}`, await writesAt(reader, at), [[taskId(1), "place", n]]);
        expectSame(`list ${what}`, idsOf(await listed(reader, at)), [place[2]]);
      }
    };
    await check(places.keys().toArray());
    if (!canDelete(saver)) continue;
    await saver.deleteThread(base);
    await check(
      places
        .keys()
        .toArray()
        .filter((n) => places[n]?.[0] !== base),
    );
    expectSame("what was deleted", idOf((await saver.getTuple(configOf(base)))?.config), "");
  }
}

export const idCases: readonly HardCase[] = [
  { name: "awkward thread ids stay apart, and are deleted alone", run: awkward },
  { name: "thread ids with half a surrogate pair are refused or stay apart", run: unpaired },
  { name: "crafted ids reach no other thread", run: crafted },
];

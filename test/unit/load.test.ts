/** Graphs of other people's folders, loaded by a Node process of its own: the test runner would resolve modules itself. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { readGraphConfig } from "../../src/langgraph/graph-config.ts";
import { graphVersion } from "../../src/langgraph/graph-version.ts";

const run = promisify(execFile);
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })));
});

/** A folder somewhere else, with nothing installed in it. */
async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "graphs-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}

interface Loaded {
  readonly graphs: Readonly<
    Record<string, { readonly values: unknown; readonly version: string; readonly sameLibrary: boolean }>
  >;
  readonly failures: Readonly<Record<string, string>>;
  readonly logged: readonly string[];
}

/** Loads a folder's langgraph.json and invokes each graph once. */
async function load(folder: string): Promise<Loaded> {
  const script = `
    import { StateGraph } from "@langchain/langgraph";
    import { EffectRejected } from "${source("src/entry/graph.ts")}";
    import { loadGraphs } from "${source("src/langgraph/load.ts")}";
    globalThis.EffectRejectedOfHoldpoint = EffectRejected;
    const logged = [];
    const log = { info() {}, warn: (fields, message) => logged.push(message + " " + JSON.stringify(fields.keys)), error() {} };
    const registry = await loadGraphs({ configPath: ${JSON.stringify(join(folder, "langgraph.json"))}, log });
    const graphs = {};
    for (const graph of registry.list()) {
      const compiled = await graph.compiled({ configurable: { tone: "kind" }, metadata: {} });
      graphs[graph.graphId] = { values: await compiled.invoke({ n: 1 }), version: graph.version, sameLibrary: compiled.builder instanceof StateGraph };
    }
    const failures = Object.fromEntries(registry.failures().map((failure) => [failure.graphId, failure.error.message]));
    process.stdout.write(JSON.stringify({ graphs, failures, logged }));
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: dirname(dirname(import.meta.dirname)),
  });
  return JSON.parse(stdout) as Loaded;
}

const source = (path: string): string => pathToFileURL(join(dirname(dirname(import.meta.dirname)), path)).href;

const graphFile = (body: string, top = ""): string => `
import { Annotation, START, StateGraph } from "@langchain/langgraph";
${top}
const State = Annotation.Root({ n: Annotation<number>(), kit: Annotation<boolean>(), tone: Annotation<string>() });
export const builder = new StateGraph(State).addNode("x", async (state) => { ${body} }).addEdge(START, "x");
export const graph = builder.compile();
export const make = (config: { configurable: { tone: string } }) =>
  new StateGraph(State).addNode("x", async () => ({ tone: config.configurable.tone })).addEdge(START, "x");
export const promised = Promise.resolve(graph);
export const nothing = 1;
export default graph;
`;

describe("graphs in a folder of their own", () => {
  it("load in every form in which they may be exported", async () => {
    const folder = await folderOf({
      "graph.ts": graphFile("return { n: (state.n ?? 0) + 1 };"),
      "langgraph.json": JSON.stringify({
        graphs: {
          builder: "./graph.ts:builder",
          compiled: { path: "./graph.ts:graph", description: "adds one", pool: "big", priority: 2 },
          made: "./graph.ts:make",
          promised: "./graph.ts:promised",
          standard: "./graph.ts:default",
          nothing: "./graph.ts:nothing",
          missing: "./graph.ts:absent",
          gone: "./nowhere.ts:graph",
        },
        auth: {},
      }),
    });
    const { graphs, failures, logged } = await load(folder);
    expect(Object.fromEntries(Object.entries(graphs).map(([id, { values }]) => [id, values]))).toEqual({
      builder: { n: 2 },
      compiled: { n: 2 },
      made: { n: 1, tone: "kind" },
      promised: { n: 2 },
      standard: { n: 2 },
    });
    expect(
      Object.values(graphs).every(({ sameLibrary, version }) => sameLibrary && /^[0-9a-f]{64}$/.test(version)),
    ).toBe(true);
    expect(failures["nothing"]).toMatch(/graph\.ts:nothing is no graph/);
    expect(failures["missing"]).toMatch(
      /has no export absent; it has builder, default, graph, make, nothing, promised/,
    );
    expect(failures["gone"]).toMatch(/nowhere\.ts/);
    expect(logged).toEqual(['langgraph.json has keys that this version does not act on ["auth"]']);
  });

  const top = `import { EffectRejected } from "holdpoint/graph";`;
  const body = `return { kit: EffectRejected === globalThis.EffectRejectedOfHoldpoint };`;

  it("share one kit and one LangGraph with the service, though nothing is installed there", async () => {
    const folder = await folderOf({
      "graph.ts": graphFile(body, top),
      "langgraph.json": '{"graphs": {"g": "./graph.ts:graph"}}',
    });
    expect((await load(folder)).graphs["g"]).toMatchObject({ values: { n: 1, kit: true }, sameLibrary: true });
  });

  it("may write schemas in zod, though nothing is installed there", async () => {
    const folder = await folderOf({
      "graph.ts": graphFile("return { n: z.number().parse(7) };", 'import { z } from "zod";'),
      "langgraph.json": '{"graphs": {"g": "./graph.ts:graph"}}',
    });
    expect(await load(folder)).toMatchObject({ failures: {}, graphs: { g: { values: { n: 7 } } } });
  });

  it.each([
    ["without a package.json", {}],
    ["of a module package", { "package.json": '{"type": "module"}' }],
    ["of a CommonJS package", { "package.json": '{"name": "x"}' }],
  ])("may use syntax that cannot be erased, and imports without extensions: %s", async (_, files) => {
    const folder = await folderOf({
      ...files,
      "colour.ts": "export enum Colour { Red, Blue }",
      "lib/index.ts":
        'import { Colour } from "../colour";\nexport class Pair { constructor(private readonly left: number) {} sum() { return this.left + Colour.Blue; } }',
      "graph.ts": graphFile(
        body.replace("return {", "return { n: new Pair(40).sum(),"),
        `${top}\nimport { Pair } from "./lib";`,
      ),
      "langgraph.json": '{"graphs": {"g": "./graph.ts:graph"}}',
    });
    expect(await load(folder)).toMatchObject({
      failures: {},
      graphs: { g: { values: { n: 41, kit: true }, sameLibrary: true } },
    });
  });

  it("that do not load are reported, and the others serve", async () => {
    const folder = await folderOf({
      "good.ts": graphFile("return {};"),
      "throws.ts": 'throw "no credentials";',
      "syntax.ts": "export const graph = ;",
      "langgraph.json":
        '{"graphs": {"good": "./good.ts:graph", "throws": "./throws.ts:graph", "syntax": "./syntax.ts:graph"}}',
    });
    const { graphs, failures } = await load(folder);
    expect(Object.keys(graphs)).toEqual(["good"]);
    expect(failures["throws"]).toBe("no credentials");
    expect(failures["syntax"]).toBeTruthy();
  });
});

describe("the version of a graph", () => {
  it("changes with its file and with what that imports, and with nothing else", async () => {
    const files = {
      "graph.ts": 'import { a } from "./lib/a.ts";\nimport x from "other";',
      "lib/a.ts": 'export * from "./b.js";',
      "lib/b.ts": "export const a = 1;",
    };
    const version = async (changes: Readonly<Record<string, string>> = {}) =>
      graphVersion(join(await folderOf({ ...files, ...changes }), "graph.ts"));
    const first = await version();
    expect(await version({ "other.ts": "1" })).toBe(first);
    expect(await version({ "lib/b.ts": "export const a = 2;" })).not.toBe(first);
    expect(await version({ "graph.ts": `${files["graph.ts"]}\n` })).not.toBe(first);
  });
});

describe("langgraph.json", () => {
  const read = async (text: string, files: Readonly<Record<string, string>> = {}) =>
    readGraphConfig(join(await folderOf({ ...files, "langgraph.json": text }), "langgraph.json"));

  it("names graphs, and the environment that they want", async () => {
    const { graphs, env } = await read('{"graphs": {"a.b-1": "./x.ts:graph"}, "env": ".env", "node_version": "24"}', {
      ".env": "KEY='a b'\n# no\nOTHER=1",
    });
    expect(graphs).toMatchObject([{ graphId: "a.b-1", exportName: "graph", pool: "default", priority: 5 }]);
    expect(env).toEqual({ KEY: "a b", OTHER: "1" });
    expect((await read('{"graphs": {"a": "./x.ts:g"}, "env": {"A": "1"}}')).env).toEqual({ A: "1" });
    expect((await read('{"graphs": {"a": "./x.ts:g"}, "env": ["A"]}')).env).toEqual({});
  });

  it.each([
    ["{", "is not JSON"],
    ["{}", "graphs: "],
    ['{"graphs": {}}', "graphs: names no graph"],
    ['{"graphs": {"a": 1}}', "graphs.a: "],
    ['{"graphs": {"a": "./x.ts"}}', 'graphs.a: "./x.ts" is not "./file.ts:export"'],
    ['{"graphs": {"a/b": "./x.ts:g"}}', "graphs.a/b: a graph id is"],
    ['{"graphs": {"11111111-1111-4111-8111-111111111111": "./x.ts:g"}}', "and no UUID"],
    [
      '{"graphs": {"a": {"path": "./x.ts:g", "plainInterrupts": "strikt"}}}',
      "graphs.a.plainInterrupts: Invalid option",
    ],
    ['{"graphs": {"a": {"path": "./x.ts:g", "limits": {"steps": 0}}}}', "graphs.a.limits.steps: Too small"],
    ['{"graphs": {"a": {"path": "./x.ts:g", "pol": "x"}}}', 'graphs.a: Unrecognized key: "pol"'],
    ['{"graphs": {"a": 5}}', "graphs.a: "],
    ['{"graphs": {"a": "./x.ts:g"}, "env": "missing.env"}', "env: missing.env cannot be read"],
  ])("is refused in one line that says why: %s", async (text, reason) => {
    await expect(read(text)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/^\/.*langgraph\.json: [^\n]*$/) as string,
    });
    await expect(read(text)).rejects.toThrow(reason);
  });
});

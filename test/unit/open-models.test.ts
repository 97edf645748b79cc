/** What a process loads and says when it opens its models, from the environment on. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HumanMessage } from "@langchain/core/messages";
import { readConfig } from "../../src/config.ts";
import { reasonOf } from "../../src/models/failure.ts";
import { openModels } from "../../src/open-models.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { createMemoryLog } from "../support/http.ts";
import { CLAUDE, target } from "../support/routed-models.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "holdpoint-models-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

function file(catalogue: object | string): string {
  const path = join(dir, "models.json");
  writeFileSync(path, typeof catalogue === "string" ? catalogue : JSON.stringify(catalogue));
  return path;
}

async function open(env: Readonly<Record<string, string>>) {
  const read = readConfig(["start"], env);
  if (read.kind !== "run") throw new Error("help was not asked for");
  const log = createMemoryLog();
  return { log, of: await openModels(read.config, log) };
}

const OFFLINE = { targets: { quotes: { provider: "offline" } }, models: { default: { targets: ["quotes"] } } };
const { region: _, ...regionless } = target(CLAUDE) as { readonly region: string };
const BEDROCK = { targets: { claude: regionless }, models: { default: { targets: ["claude"] } } };
const ASK = [new HumanMessage("Hello?")];

/** The packages that a process has loaded once its models are open. */
function loaded(env: Readonly<Record<string, string>>): string {
  const script = `
    import { registerHooks } from "node:module";
    registerHooks({ load(url, context, next) { const [, name] = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url) ?? []; if (name) globalThis.seen.add(name); return next(url, context); } });
    globalThis.seen = new Set();
    const { readConfig } = await import("./src/config.ts");
    const { openModels } = await import("./src/open-models.ts");
    const of = await openModels(readConfig(["start"]).config, { warn() {}, info() {} });
    await of("acme").models().complete({ messages: [{ role: "user", content: "x" }] }).catch(() => {});
    process.stdout.write([...globalThis.seen].join(" "));
  `;
  const run = spawnSync(process.execPath, ["--conditions=holdpoint-source", "--input-type=module", "-e", script], {
    cwd: PROJECT,
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  expect(run.stderr).toBe("");
  return run.stdout;
}

it("loads nothing of AWS and no policies without a catalogue, and nothing of AWS where it names no model of it", () => {
  expect(loaded({})).not.toMatch(/aws|smithy|cockatiel/);
  expect(loaded({ HOLDPOINT_MODELS: file(OFFLINE) })).not.toMatch(/aws|smithy/);
  // The control: where it does, they are seen.
  const env = { HOLDPOINT_MODELS: file(BEDROCK), AWS_REGION: "us-east-1", BEDROCK_ENDPOINT: "http://127.0.0.1:1" };
  expect(loaded(env)).toMatch(/@langchain\/aws/);
});

it("has the offline model under every name, and the chat model that a graph brings along, without a catalogue", async () => {
  const { of } = await open({});
  const { models, chat } = of("acme");
  expect(models("any").description).toMatch(/^offline extractive model/);
  expect(() => chat("agent")).toThrow(/no catalogue has a chat model called agent/);
});

it("serves what the catalogue has, records each call in the log, and keeps content out of it", async () => {
  await using bedrock = await startFakeBedrock();
  bedrock.says(() => ({ text: "A secret." }));
  const env = { HOLDPOINT_MODELS: file(BEDROCK), AWS_REGION: bedrock.region, BEDROCK_ENDPOINT: bedrock.endpoint };
  const { log, of } = await open(env);
  expect((await of("acme").chat("default").invoke(ASK)).text).toBe("A secret.");
  const [line] = log.lines.filter(({ message }) => message === "model called");
  expect(line?.fields).toMatchObject({
    tenant: "acme",
    name: "default",
    target: "claude",
    outcome: "served",
    attempts: 1,
  });
  expect(JSON.stringify(log.lines)).not.toMatch(/secret|Hello/);
  expect(() => of("acme").models("gone")).toThrow(/no model called gone/);
});

it.each<[string, Readonly<Record<string, string>>, () => string, RegExp]>([
  ["that is not there", {}, () => join(dir, "gone.json"), /HOLDPOINT_MODELS: ENOENT/],
  ["that is no catalogue", {}, () => file("[]"), /at its top/],
  ["with a model whose region nobody says", {}, () => file(BEDROCK), /at targets.claude.region: set it, or AWS_REGION/],
])("refuses to start with a file %s, in one line", async (_what, env, path, words) => {
  await expect(open({ ...env, HOLDPOINT_MODELS: path() })).rejects.toThrow(words);
});

it("says at once that there are no credentials, and sends nothing", async () => {
  await using bedrock = await startFakeBedrock();
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, { HOME: dir, AWS_EC2_METADATA_DISABLED: "true" });
  try {
    // This machine under a name that is not taken for it: nothing is made up for other hosts.
    const endpoint = bedrock.endpoint.replace("127.0.0.1", "0.0.0.0");
    const env = { HOLDPOINT_MODELS: file(BEDROCK), AWS_REGION: bedrock.region, BEDROCK_ENDPOINT: endpoint };
    const { of } = await open(env);
    const error: unknown = await of("acme")
      .chat("default")
      .invoke(ASK)
      .catch((thrown: unknown) => thrown);
    expect([reasonOf(error), String(error)]).toEqual([
      "credentials",
      expect.stringMatching(/CredentialsProviderError/),
    ]);
    expect(bedrock.seen).toEqual([]);
  } finally {
    process.env = before;
  }
});

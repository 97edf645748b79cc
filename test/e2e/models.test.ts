/** A real process with a catalogue, before a fake of Bedrock: the shipped policy desk, as it is, answers by a language model. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { startTestService, testFolder, until } from "../support/process.ts";
import { CLAUDE, target } from "../support/routed-models.ts";

const DOCUMENTS = join(PROJECT, "graphs/policy-desk/documents");
const QUESTION = "How long do I have to return a tent?";

it("answers from the documents by the catalogue's model, and records the call", async () => {
  await using folder = await testFolder();
  await using bedrock = await startFakeBedrock();
  bedrock.says(() => ({ text: ["You have thirty days", " to return it [1]."] }));
  const models = join(folder.path, "models.json");
  const catalogue = { targets: { claude: target(CLAUDE) }, models: { default: { targets: ["claude"] } } };
  await writeFile(models, JSON.stringify(catalogue));
  await using service = startTestService({
    role: "all",
    dataDir: join(folder.path, "data"),
    env: { HOLDPOINT_MODELS: models, BEDROCK_ENDPOINT: bedrock.endpoint, HOLDPOINT_DOCUMENTS: DOCUMENTS },
  });
  const { url = "" } = await service.ready;
  const client = new Client({ apiUrl: url });
  const input = { messages: [{ role: "user", content: QUESTION }] };
  const values = await until("the documents to be there", async () => {
    const said = (await client.runs.wait(null, "policy-desk", { input })) as {
      readonly answer: string;
      readonly citations: readonly { readonly quote: string }[];
    };
    return said.citations.length > 0 && said;
  });
  expect(values.answer).toMatch(/^You have thirty days to return it \[1\].*Answered by: anthropic\.claude/s);
  expect(values.citations).toHaveLength(1);
  expect(JSON.stringify(bedrock.seen.at(-1)?.body.system)).toContain(values.citations[0]?.quote);
});

it("does not start with a catalogue that has a cycle, and says where it is", async () => {
  await using folder = await testFolder();
  const models = join(folder.path, "models.json");
  const cycle = { targets: {}, models: { a: { targets: ["b"] }, b: { targets: ["a"] } } };
  await writeFile(models, JSON.stringify(cycle));
  await using service = startTestService({
    role: "all",
    dataDir: join(folder.path, "data"),
    env: { HOLDPOINT_MODELS: models },
  });
  expect((await service.exited).code).toBe(1);
  expect(service.stderr).toEqual([
    "holdpoint: HOLDPOINT_MODELS: the model catalogue, at models.b.targets[0]: a cycle: a → b → a",
  ]);
});

/** The examples of docs/models.md are the files that are executed here, and its tables are those of the code. */
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { modelFailure, ruleOf } from "../../src/models/failure.ts";
import type { FailureReason } from "../../src/models/failure.ts";
import { parseCatalogue } from "../../src/models/catalogue.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { routed } from "../support/routed-models.ts";
import { startService } from "../support/service.ts";
import { assistant } from "./guides/assistant.ts";

const textOf = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), "utf8");
const GUIDE = await textOf("../../docs/models.md");
const CATALOGUE = await textOf("./guides/models.json");

it.each([
  ["ts", "./guides/assistant.ts"],
  ["json", "./guides/models.json"],
])("shows as %s what %s is", async (language, file) => {
  expect(GUIDE).toContain(`\`\`\`${language}\n${await textOf(file)}\`\`\`\n`);
});

it("has a catalogue that serves a tenant of its own", () => {
  const names = (tenant: string) =>
    parseCatalogue(CATALOGUE)
      .targetsOf("tool-agent", tenant)
      ?.map(({ name }) => name);
  expect([names("globex"), names("acme")]).toEqual([["sonnet", "nova"], ["nova"]]);
});

it("lists every reason with its code, and what follows from it", async () => {
  const source = await textOf("../../src/models/failure.ts");
  const union = source.slice(source.indexOf("FailureReason ="), source.indexOf("interface Rule"));
  const reasons = [...union.matchAll(/\| "(\w+)"/g)].map(([, reason = ""]) => reason as FailureReason); // of that very type
  const yes = (does: true | undefined): string => (does ? "yes" : "");
  const rows = reasons.map((reason) => {
    const { code, retry, fallback, blame } = ruleOf(modelFailure(reason, ""));
    return `| \`${reason}\` | \`${code}\` | ${yes(retry)} | ${yes(fallback)} | ${yes(blame)} | `;
  });
  const shown = [...GUIDE.matchAll(/^(\| `\w+` \| `\w+` \|[^|]*\|[^|]*\|[^|]*\| )[^|]+\|$/gm)].map(
    ([, row = ""]) => row,
  );
  expect(shown).toEqual(rows);
});

it("answers with the catalogue's model, and branches on a reason", async () => {
  await using bedrock = await startFakeBedrock({ region: "eu-central-1" });
  using models = routed(bedrock, { catalogue: JSON.parse(CATALOGUE) as object });
  await using service = await startService({
    graphs: createRegistry([registeredGraph("assistant", assistant)]),
    services: { chat: (name) => models.chat(name) },
  });
  const client = service.client("acme");
  const ask = async (): Promise<unknown> => {
    const input = { messages: [{ role: "user", content: "Hello?" }] };
    const { messages } = (await client.runs.wait(null, "assistant", { input })) as {
      readonly messages: readonly { readonly content: unknown }[];
    };
    return messages.at(-1)?.content;
  };
  expect(await ask()).toBe("Hello.");
  // The guardrail that the catalogue gives to a tenant's target goes with each call.
  expect(bedrock.seen.at(-1)?.body.guardrailConfig?.guardrailIdentifier).toBe("gr-1");
  bedrock.fault(() => ({ kind: "throttle" }));
  expect(await ask()).toMatch(/^There is a lot to do right now/);
});

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOfflineModel } from "../../src/local/offline-model.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import type { GroundingPassage, ModelDelta, ModelReply } from "../../src/models/model.ts";
import { openFolder } from "../../src/retrieval/folder.ts";
import type { Retriever } from "../../src/retrieval/retriever.ts";

const model = createOfflineModel();
const POLICIES = { tenant: "acme", collection: "policies" } as const;
const DOCUMENTS = fileURLToPath(new URL("../../graphs/policy-desk/documents", import.meta.url));

interface Questions {
  readonly answered: readonly { readonly question: string; readonly document: string; readonly says: string }[];
  readonly refused: readonly string[];
}
const FIXTURE = fileURLToPath(new URL("../../graphs/policy-desk/fixtures/questions.json", import.meta.url));
const QUESTIONS = JSON.parse(readFileSync(FIXTURE, "utf8")) as Questions;

const passage = (text: string, more: Partial<GroundingPassage> = {}): GroundingPassage => ({
  id: "p1",
  documentId: "returns.md",
  title: "Returns",
  section: "",
  text,
  offsets: { start: 100, end: 100 + text.length },
  ...more,
});

const ask = (question: string, passages?: readonly GroundingPassage[]): Promise<ModelReply> =>
  model.complete({ messages: [{ role: "user", content: question }], ...(passages === undefined ? {} : { passages }) });

describe("with the shipped documents", () => {
  let dataDir = "";
  let retriever: Retriever & AsyncDisposable;
  const sources = new Map<string, string>();
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "holdpoint-offline-"));
    retriever = createSqliteRetriever({ dataDir });
    const folder = await openFolder(DOCUMENTS);
    for await (const { id, text } of folder.documents()) sources.set(id, text);
    await retriever.ingest(folder.documents(), POLICIES);
  });
  afterAll(async () => {
    await retriever[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  const askDocuments = async (question: string): Promise<ModelReply> =>
    ask(question, await retriever.search(question, { ...POLICIES, k: 8 }));

  it.each(QUESTIONS.answered)("answers: $question", async ({ question, document, says }) => {
    const reply = await askDocuments(question);
    expect(reply.outcome).toBe("answered");
    expect(reply.text).toContain(says);
    expect(reply.citations.map((citation) => citation.documentId)).toContain(document);
    for (const { documentId: cited, offsets, quote, number } of reply.citations) {
      expect(sources.get(cited)?.slice(offsets.start, offsets.end)).toBe(quote);
      expect(reply.text).toContain(`[${number}]`);
    }
  });

  it.each(QUESTIONS.refused)("says that the documents do not answer: %s", async (question) => {
    const reply = await askDocuments(question);
    expect(reply).toMatchObject({ outcome: "abstained", citations: [] });
    expect(reply.text).toContain("offline extractive model");
    expect(reply.text).not.toMatch(/\[\d+\]/);
  });

  it("the refusals are not for want of passages: the nearest ones were there, and only the coverage refused", async () => {
    const nearest = await retriever.search("What is the best hiking trail in Norway?", { ...POLICIES, k: 8 });
    expect(nearest.length).toBe(8);
    expect(
      (await ask("Do you ship to Norway?", await retriever.search("Do you ship to Norway?", { ...POLICIES, k: 8 })))
        .outcome,
    ).toBe("answered");
  });
});

it("quotes the sentence that answers, cites its passage and says what it is", async () => {
  const text = "We are glad to help.\nUnused tents can be returned within 60 days. Nothing else matters here.";
  const reply = await ask("When can I return a tent?", [passage("Shops are open.", { id: "p0" }), passage(text)]);
  expect(reply).toEqual({
    text: "Unused tents can be returned within 60 days. [1]",
    citations: [
      {
        number: 1,
        passageId: "p1",
        documentId: "returns.md",
        title: "Returns",
        section: "",
        quote: "Unused tents can be returned within 60 days.",
        offsets: { start: 100 + 21, end: 100 + 21 + 44 },
      },
    ],
    outcome: "answered",
    usage: { inputTokens: 6 + 3 + 17, outputTokens: 9 },
    model: "offline extractive model",
    provider: "holdpoint",
  });
  expect(model.description).toContain("offline extractive model");
});

it("a point of a list and a row of a table are quoted with what leads into them", async () => {
  const list = passage("## What cannot be returned\n\n- Gas canisters and **fuel**.\n- Food.", {
    section: "What cannot be returned",
  });
  expect((await ask("Can I return gas canisters?", [list])).text).toBe(
    "What cannot be returned: Gas canisters and fuel. [1]",
  );
  const table = passage(
    "Prices of our repairs:\n\n| Repair | Price | Time |\n|---|---|---|\n| new zip | EUR 25 | 2 days |\n| patch | EUR 12 | 1 day |",
  );
  const reply = await ask("How much is a new zip?", [table]);
  expect(reply.text).toBe("Prices of our repairs: new zip: Price: EUR 25; Time: 2 days. [1]");
  expect(reply.citations[0]?.quote).toBe("| new zip | EUR 25 | 2 days |");
});

it("only the last user turn is the question", async () => {
  const passages = [passage("Tents can be returned within 60 days.")];
  const messages = [
    { role: "user", content: "When can tents be returned?" },
    { role: "assistant", content: "Within 60 days." },
    { role: "user", content: "Who painted the Mona Lisa?" },
  ] as const;
  expect((await model.complete({ messages, passages })).outcome).toBe("abstained");
  expect((await model.complete({ messages: messages.slice(0, 2), passages })).outcome).toBe("answered");
});

it("without passages it knows nothing, and without a question it refuses", async () => {
  expect((await ask("When can tents be returned?")).outcome).toBe("abstained");
  await expect(model.complete({ messages: [{ role: "system", content: "x" }] })).rejects.toMatchObject({
    code: "invalid",
  });
});

it("the same request has the same reply", async () => {
  const passages = [passage("Tents can be returned within 60 days. Tents are returned by post.")];
  expect(await ask("How are tents returned?", passages)).toEqual(await ask("How are tents returned?", passages));
});

describe("streaming", () => {
  const request = {
    messages: [{ role: "user", content: "When can tents be returned?" }],
    passages: [passage("Tents can be returned within 60 days.")],
  } as const;

  it("gives the text of the whole reply in pieces, then the reply", async () => {
    const deltas = await Array.fromAsync(model.stream(request));
    const whole = await model.complete(request);
    expect(deltas.at(-1)).toEqual({ type: "reply", reply: whole });
    expect(deltas.flatMap((delta) => (delta.type === "text" ? [delta.text] : [])).join("")).toBe(whole.text);
    expect(deltas.length).toBeGreaterThan(3);
  });

  it("stops at once when it is told to, without a reply", async () => {
    const abort = new AbortController();
    const seen: ModelDelta[] = [];
    const reading = (async () => {
      for await (const delta of model.stream({ ...request, signal: abort.signal })) {
        seen.push(delta);
        abort.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
    expect(seen).toHaveLength(1);
    await expect(model.complete({ ...request, signal: abort.signal })).rejects.toMatchObject({ name: "AbortError" });
  });
});

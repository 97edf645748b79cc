/** Answers from passages, with citations, by a model of the catalogue; and the offline one behind it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GroundingPassage } from "../../src/models/model.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { FakeBedrock } from "../support/fake-bedrock.ts";
import { TWO, routed } from "../support/routed-models.ts";

const passage = (id: string, text: string): GroundingPassage => ({
  id,
  documentId: `${id}.md`,
  title: "Returns",
  section: "",
  text,
  offsets: { start: 100, end: 100 + text.length },
});
const passages = [
  passage("p1", "Tents can be returned. A refund takes three days. Shipping is free."),
  passage("p2", "Stoves cannot be returned."),
];
const messages = [{ role: "user", content: "How long does a refund take?" }] as const;

let bedrock: FakeBedrock;
beforeAll(async () => {
  bedrock = await startFakeBedrock();
});
afterAll(() => bedrock[Symbol.asyncDispose]());
beforeEach(() => {
  bedrock.fault(() => undefined);
  bedrock.says(() => ({ text: ["A refund takes three", " days [1]. See also [7]."] }));
});

describe("an answer from passages", () => {
  it("cites them with their own words, and nothing that it was not given", async () => {
    using models = routed(bedrock);
    const reply = await models.model().complete({ messages, passages });
    expect(reply.outcome).toBe("answered");
    expect(reply.citations).toEqual([
      {
        number: 1,
        passageId: "p1",
        documentId: "p1.md",
        title: "Returns",
        section: "",
        quote: "A refund takes three days.",
        offsets: { start: 123, end: 149 },
      },
    ]);
    expect(JSON.stringify(bedrock.seen.at(-1)?.body.system)).toMatch(/passage number=..2.*Stoves/);
  });

  it("streams the same, the reply last", async () => {
    using models = routed(bedrock);
    const deltas = await Array.fromAsync(models.model().stream({ messages, passages }));
    expect(deltas.map((delta) => (delta.type === "text" ? delta.text : delta.reply.citations.length))).toEqual([
      "A refund takes three",
      " days [1]. See also [7].",
      1,
    ]);
  });

  it.each(["The documents do not answer this.", "Three days."])("is none when it says %s", async (text) => {
    using models = routed(bedrock);
    bedrock.says(() => ({ text }));
    expect(await models.model().complete({ messages, passages })).toMatchObject({
      text,
      outcome: "abstained",
      citations: [],
    });
  });

  it("without passages is whatever the model says", async () => {
    using models = routed(bedrock);
    bedrock.says(() => ({ text: "Three days." }));
    expect(await models.model().complete({ messages })).toMatchObject({ outcome: "answered", text: "Three days." });
  });

  it("comes from the offline model where the catalogue has it behind the others", async () => {
    const catalogue = {
      ...TWO,
      targets: { ...TWO.targets, quotes: { provider: "offline" } },
      models: { agent: { targets: ["first", "quotes"] } },
    };
    using models = routed(bedrock, { catalogue });
    bedrock.fault(() => ({ kind: "throttle" }));
    const reply = await models.model().complete({ messages, passages });
    expect(reply).toMatchObject({
      outcome: "answered",
      model: "offline extractive model",
      text: expect.stringContaining("three days") as unknown,
    });
    expect(models.calls).toMatchObject([{ target: "quotes", fallbacks: [{ target: "first", reason: "throttled" }] }]);
  });

  it("needs a question", async () => {
    using models = routed(bedrock);
    await expect(models.model().complete({ messages: [{ role: "system", content: "x" }] })).rejects.toThrow(
      /no user turn/,
    );
  });
});

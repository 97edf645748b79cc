import { expect, it } from "vitest";
import { embedQuery, embedderIdentity, embeddingText } from "../../src/retrieval/embedding.ts";
import type { PassageEmbedder } from "../../src/retrieval/embedding.ts";

/** A vector of one number: how long the text is. Remembers what it was asked. */
function lengths(): PassageEmbedder & { readonly asked: unknown[] } {
  const asked: unknown[] = [];
  return {
    asked,
    model: "lengths",
    dimensions: 1,
    embed: (texts, { purpose }) => {
      asked.push({ texts, purpose });
      return Promise.resolve(texts.map(({ length }) => Float32Array.of(length)));
    },
  };
}

it("embeds of a passage its title, section and text, whichever it has", () => {
  expect(embeddingText({ title: "Boots", section: "Care › Soles", text: "Dry them." })).toBe(
    "Boots\nCare › Soles\nDry them.",
  );
  expect(embeddingText({ title: "Boots", section: "", text: "" })).toBe("Boots");
});

it("embeds of a very long text its beginning, never half a character", () => {
  const cut = embeddingText({ title: "", section: "", text: `${"x".repeat(7_999)}😀 and more` });
  expect(cut).toHaveLength(8_000);
  expect(cut?.isWellFormed()).toBe(true);
});

it("asks for the vector of a query as one, and not at all when it is blank", async () => {
  const embedder = lengths();
  expect(await embedQuery(embedder, " wet boots ")).toEqual(Float32Array.of(9));
  expect(embedder.asked).toEqual([{ texts: ["wet boots"], purpose: "query" }]);
  expect(await embedQuery(embedder, " \n")).toBeUndefined();
  expect(embedder.asked).toHaveLength(1);
});

it("is another embedder with another model, and with another size", () => {
  const embedder = lengths();
  const identities = [embedder, { ...embedder, model: "other" }, { ...embedder, dimensions: 2 }].map(embedderIdentity);
  expect(new Set(identities).size).toBe(3);
});

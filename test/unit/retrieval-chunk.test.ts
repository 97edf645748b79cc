import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { chunkDocument } from "../../src/retrieval/chunk.ts";
import type { SourceDocument } from "../../src/retrieval/retriever.ts";

const document = (text: string, format: SourceDocument["format"] = "markdown"): SourceDocument => ({
  id: "d",
  title: "Title",
  text,
  format,
  labels: {},
});

/** Prose with everything that matters to where it may be cut: headings, fences, blank lines, pairs of surrogates. */
const prose = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.lorem({ mode: "sentences", maxCount: 3 }) },
      fc.constantFrom(
        "# One",
        "## Two",
        "### Three",
        "```",
        "~~~",
        "- item",
        "",
        "   ",
        "## ",
        "#no heading",
        "\uFEFF",
      ),
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.string({ unit: "grapheme", maxLength: 30 }),
      fc.constant("😀".repeat(25)),
    ),
    { maxLength: 30 },
  )
  .chain((parts) => fc.constantFrom("\n", "\n\n", "\r\n", " ").map((glue) => parts.join(glue)));
const limits = fc.record({ most: fc.integer({ min: 2, max: 200 }), least: fc.nat(60) });
const format = fc.constantFrom("markdown" as const, "text" as const, "record" as const);

describe("whatever the text", () => {
  it("passages are ranges of it within the limit, in order, and leave out only white space", () => {
    fc.assert(
      fc.property(prose, format, limits, (text, kind, given) => {
        const chunks = chunkDocument({ ...document(text, kind), title: "" }, given);
        let at = 0;
        for (const chunk of chunks) {
          const { start, end } = chunk.offsets;
          expect(text.slice(start, end)).toBe(chunk.text);
          expect(chunk.text.trim()).toBe(chunk.text);
          expect(chunk.text.length).toBeGreaterThan(0);
          expect(chunk.text.length).toBeLessThanOrEqual(given.most);
          expect(text.slice(at, start).trim()).toBe("");
          at = end;
        }
        expect(text.slice(at).trim()).toBe("");
      }),
      { numRuns: 500 },
    );
  });

  it("no passage begins or ends inside a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), limits, (text, given) => {
        for (const { text: said } of chunkDocument(document(text, "text"), given))
          expect(said.isWellFormed()).toBe(true);
      }),
    );
  });

  it("ids are those of the content: equal for equal documents, all different within one", () => {
    fc.assert(
      fc.property(prose, limits, (text, given) => {
        const ids = chunkDocument(document(text), given).map(({ id }) => id);
        expect(chunkDocument(document(text), given).map(({ id }) => id)).toEqual(ids);
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
  });
});

it("a changed word changes the id of its own passage and of no earlier one", () => {
  const text = (word: string) => `# T\n\n## A\n\n${"first ".repeat(60)}\n\n## B\n\n${`${word} `.repeat(60)}`;
  const [a, b] = chunkDocument(document(text("one")));
  const [a2, b2] = chunkDocument(document(text("two")));
  expect(a2?.id).toBe(a?.id);
  expect(b2?.id).not.toBe(b?.id);
});

it("Markdown is divided at headings, and each passage knows those it stands under", () => {
  const body = "x".repeat(200);
  const text = `# Title\n\n${body}\n\n## Returns\n\n${body}\n\n### Boots ##\n\n${body}\n\n## Repairs\n\n${body}\n`;
  const chunks = chunkDocument(document(text));
  expect(chunks.map(({ section }) => section)).toEqual(["", "Returns", "Returns › Boots", "Repairs"]);
  expect(chunks[2]?.text.startsWith("### Boots ##")).toBe(true);
});

it("a line of a code block is not a heading", () => {
  const body = "x".repeat(200);
  const chunks = chunkDocument(
    document(`## A\n\n\`\`\`sh\n# not a heading ${body}\n~~~\n## nor this\n\`\`\`\n\n## B\n\n${body}`),
  );
  expect(chunks.map(({ section }) => section)).toEqual(["A", "B"]);
});

it("a heading with next to nothing under it goes with what follows", () => {
  const chunks = chunkDocument(document(`# Title\n\n## Part\n\n### Detail\n\n${"word ".repeat(50)}`));
  expect(chunks).toHaveLength(1);
  expect(chunks[0]?.section).toBe("Part › Detail");
});

it("a short section that goes with the next stands under the headings that both have, and no other", () => {
  const text = "# Returns\n\nWithin 47 days.\n\n## Refund\n\nIn cowrie shells.\n\n### How\n\nBy ship.";
  expect(chunkDocument(document(text)).map(({ section }) => section)).toEqual([""]);
  const under = "# Returns\n\n## Refund\n\nIn cowrie shells.\n\n### How\n\nBy ship.";
  expect(chunkDocument(document(under)).map(({ section }) => section)).toEqual(["Refund"]);
});

it("a long section is cut between paragraphs before sentences, and between sentences before words", () => {
  const paragraph = (word: string) => `${`${word} `.repeat(20).trim()}. ${`${word} `.repeat(20).trim()}.`;
  const cuts = (most: number) =>
    chunkDocument(document(`${paragraph("aa")}\n\n${paragraph("bb")}`, "text"), { most, least: 0 }).map((c) => c.text);
  expect(cuts(130)).toEqual([paragraph("aa"), paragraph("bb")]);
  expect(cuts(100).every((text) => text.endsWith("."))).toBe(true);
  expect(cuts(20).every((text) => /^(aa|bb)/.test(text) && /(aa|bb)\.?$/.test(text))).toBe(true);
});

it("a record is one passage, also when it looks like Markdown, until it is very long", () => {
  expect(chunkDocument(document(`# a\n\n## b\n\n${"word ".repeat(1_000)}`, "record"))).toHaveLength(1);
  expect(chunkDocument(document("word ".repeat(4_000), "record")).length).toBeGreaterThan(1);
});

it("a document of a title alone can be found, and one of nothing has no passages", () => {
  expect(chunkDocument(document("  \n", "record"))).toMatchObject([{ offsets: { start: 0, end: 0 }, text: "" }]);
  expect(chunkDocument({ ...document(""), title: "" })).toEqual([]);
});

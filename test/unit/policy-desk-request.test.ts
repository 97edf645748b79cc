import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { euros, understand } from "../../graphs/policy-desk/request.ts";
import type { Understood } from "../../graphs/policy-desk/request.ts";

const refund = (order: string, amount: number, reason: string | null = null): Understood => ({
  kind: "refund",
  refund: { order, amount, currency: "EUR", reason },
});

describe("what plainly tells the desk to refund is a refund", () => {
  it.each([
    ["refund order A-1001 120 EUR because the tent arrived torn", refund("A-1001", 120, "the tent arrived torn")],
    ["Refund order A-1001 120 EUR because 2 of 3 poles broke.", refund("A-1001", 120, "2 of 3 poles broke")],
    ["Please refund EUR 49.90 on order b-20417.", refund("B-20417", 49.9)],
    ["Hello, please refund €80 for A-1001", refund("A-1001", 80)],
    ["Can you please refund order A-1001? 1,234.50 euros", refund("A-1001", 1234.5)],
    ["I would like a full refund of 1.234,50 € for order A-1001", refund("A-1001", 1234.5)],
    ["I want to get my money back: order A-1001, 12,5 EUR", refund("A-1001", 12.5)],
    ["Can I get a refund for order A-1001? It was EUR 20.", refund("A-1001", 20)],
    ["The boots leak. Refund A-1001, 89 eur, due to a leak", refund("A-1001", 89, "a leak")],
    ["Issue a refund on A-1001 of 15 EUR", refund("A-1001", 15)],
    ["Refund for A-1001: 30 EUR, 30 EUR in all", refund("A-1001", 30)],
  ])("%s", (text, expected) => {
    expect(understand(text)).toEqual(expected);
  });
});

describe("a question about refunds never becomes one", () => {
  it.each([
    "How long does a refund take?",
    "Who has to approve a refund above EUR 100?",
    "When will I get the refund of EUR 50 for order A-1001?",
    "Has order A-1001 been refunded? It was 50 EUR.",
    "Why was the refund of 50 EUR on A-1001 rejected?",
    "Refund policy for tents above 50 EUR",
    "Refunds",
    "I have a question about refunds of EUR 20",
    "I want to know how refunds work",
    "Can you explain refunds above EUR 100 to me?",
    "Can I get a refund for worn boots?",
    "My refund of 50 EUR for A-1001 never arrived",
    "Order A-1001, 120 EUR",
    "",
  ])("%s", (text) => {
    expect(understand(text)).toEqual({ kind: "question" });
  });
});

describe("what is missing or unclear is asked for", () => {
  it.each([
    ["I want a refund", { order: null, amount: null, reason: null }, ["the order number", "the amount in euros"]],
    ["Refund order A-1001 please", { order: "A-1001", amount: null, reason: null }, ["the amount in euros"]],
    [
      "Refund 120 EUR, I need a refund because it leaks",
      { order: null, amount: 120, reason: "it leaks" },
      ["the order number"],
    ],
    ["Refund order A-1001 and A-1002, 20 EUR", { order: null, amount: 20, reason: null }, ["one order at a time"]],
    ["Refund order A-1001: 20 EUR or 30 EUR", { order: "A-1001", amount: null, reason: null }, ["one amount"]],
    ["Refund order A-1001 120 USD", { order: "A-1001", amount: null, reason: null }, ["in euros"]],
    ["Refund order A-1001 120", { order: "A-1001", amount: null, reason: null }, ["the amount in euros"]],
    ["Refund order A-1001 EUR 0", { order: "A-1001", amount: null, reason: null }, ["above zero"]],
    ["Refund order A-1001 -50 EUR", { order: "A-1001", amount: null, reason: null }, ["the amount in euros"]],
    ["Refund order A-1001 0.500 EUR", { order: "A-1001", amount: null, reason: null }, ["the amount in euros"]],
    ["Refund order A-1001 EUR 99999999", { order: "A-1001", amount: null, reason: null }, ["above zero and up to"]],
  ])("%s", (text, draft, asks) => {
    const understood = understand(text);
    expect(understood).toMatchObject({ kind: "incomplete", draft });
    const missing = understood.kind === "incomplete" ? understood.missing : [];
    expect(missing).toHaveLength(asks.length);
    for (const [index, ask] of asks.entries()) expect(missing[index]).toContain(ask);
  });
});

describe("a draft", () => {
  const draft = { order: "A-1001", amount: null, reason: "it leaks" };

  it("is completed by the answer", () => {
    expect(understand("120 EUR", draft)).toEqual(refund("A-1001", 120, "it leaks"));
    expect(understand("It is A-1002, EUR 40", { order: null, amount: null, reason: null })).toEqual(
      refund("A-1002", 40),
    );
  });

  it("is left alone by a question, and given up on request", () => {
    expect(understand("How long does a refund of 50 EUR take?", draft)).toEqual({ kind: "question" });
    expect(understand("What about gift cards?", draft)).toEqual({ kind: "question" });
    expect(understand("never mind, thanks", draft)).toEqual({ kind: "dropped" });
    expect(understand("never mind, thanks")).toEqual({ kind: "question" });
  });
});

it("the amount understood is the amount written, in any of the usual ways", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5_000_000 }), fc.nat(5), (cents, form) => {
      const amount = cents / 100;
      const plain = amount.toFixed(2);
      const grouped = amount.toLocaleString("en", { minimumFractionDigits: 2 });
      const german = amount.toLocaleString("de", { minimumFractionDigits: 2 });
      const written = [`EUR ${plain}`, `${plain} EUR`, `€${grouped}`, `${german} €`, `${grouped} euros`, euros(amount)][
        form
      ];
      expect(understand(`Refund order A-1001, ${written}.`)).toEqual(refund("A-1001", amount));
    }),
  );
});

it("every text is understood as something, however odd or long", () => {
  const nasty = fc.oneof(
    fc.string({ unit: "binary", maxLength: 500 }),
    fc
      .constantFrom("refund ", "1", "1.000", " ", "A-1001 ", "please ", "EUR ", "hi, ")
      .map((part) => part.repeat(1_000)),
  );
  fc.assert(
    fc.property(nasty, (text) => {
      expect(understand(text)).toHaveProperty("kind");
      expect(understand(text, { order: null, amount: null, reason: null })).toHaveProperty("kind");
    }),
  );
});

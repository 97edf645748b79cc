import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { DueRow } from "../../src/runtime/worker/due-rows.ts";
import { spread } from "../../src/runtime/worker/spread.ts";
import { readySort, readyTurn } from "../../src/storage/keys.ts";

const tenant = tenantId("acme");

function row(n: number, dueAt: number, priority = 5): DueRow {
  const subject = `thread-${n}`;
  return {
    ref: { tenant, threadId: threadId(subject) },
    sk: "H",
    sort: readySort({ tenant, priority, dueAt, subject }),
  };
}

/** Ready within a moment, as many as are read at once. */
const burst = Array.from({ length: 64 }, (_, n) => row(n, 1_000_000 + n * 10));

/** How many of the first eight of one worker are among the first eight of the other, on average. */
function overlap(one: (n: number) => string, other: (n: number) => string): number {
  const rounds = 200;
  let both = 0;
  for (let n = 0; n < rounds; n += 1) {
    const first = new Set(spread(burst, one(n)).slice(0, 8));
    both += spread(burst, other(n))
      .slice(0, 8)
      .filter((some) => first.has(some)).length;
  }
  return both / rounds;
}

describe("workers that read the same rows", () => {
  it("begin with different ones", () => {
    expect(
      overlap(
        (n) => `a${n}`,
        (n) => `b${n}`,
      ),
    ).toBeLessThan(3);
  });

  it("would begin with the same ones if they were alike (negative control)", () => {
    expect(
      overlap(
        (n) => `a${n}`,
        (n) => `a${n}`,
      ),
    ).toBe(8);
  });

  it("keep all rows, by priority, and let none be overtaken by what became ready ten seconds later", () => {
    const rows = fc.array(fc.record({ dueAt: fc.nat(40_000), priority: fc.nat(9) }), { maxLength: 40 });
    fc.assert(
      fc.property(rows, fc.string(), (drawn, worker) => {
        const given = drawn.map(({ dueAt, priority }, n) => row(n, dueAt, priority));
        const order = spread(given, worker);
        expect(new Set(order)).toEqual(new Set(given));
        for (const [i, earlier] of order.entries()) {
          for (const later of order.slice(i + 1)) {
            const [a, b] = [readyTurn(earlier.sort), readyTurn(later.sort)];
            const inOrder =
              a && b && (a.priority < b.priority || (a.priority === b.priority && a.dueAt < b.dueAt + 10_000));
            expect(inOrder).toBe(true);
          }
        }
      }),
    );
  });
});

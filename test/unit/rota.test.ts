import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rota } from "../../src/runtime/worker/rota.ts";
import type { Candidate } from "../../src/runtime/worker/rota.ts";

/** A thread may be held for ten runs, so nobody owes more than that many turns. */
const MOST_OWED = 10;
const anything = (): boolean => true;
const work = (tenant: string, n: number): readonly Candidate[] =>
  Array.from({ length: n }, (_, i) => ({ tenant, key: `${tenant}${i}` }));
const tenantsOf = (picked: readonly Candidate[]): string => picked.map(({ tenant }) => tenant).join("");
const count = (picked: readonly Candidate[], tenant: string): number =>
  picked.filter((candidate) => candidate.tenant === tenant).length;

/** Tenants with some work each, in any order of arrival. */
const backlog = fc
  .dictionary(fc.constantFrom("a", "b", "c", "d", "e"), fc.integer({ min: 1, max: 8 }), { minKeys: 1 })
  .chain((sizes) => {
    const all = Object.entries(sizes).flatMap(([tenant, n]) => work(tenant, n));
    return fc.shuffledSubarray([...all], { minLength: all.length });
  });
const slots = fc.integer({ min: 1, max: 12 });
const charges = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d", "e"), fc.nat(100)), { maxLength: 10 });

describe("whose turn it is", () => {
  it("goes round the tenants, and goes on where it stopped", () => {
    const rota = new Rota();
    const all = [...work("a", 9), ...work("b", 9), ...work("c", 9)];
    expect(tenantsOf(rota.pick(all, { slots: 4, mayTake: anything }))).toBe("abca");
    expect(tenantsOf(rota.pick(all, { slots: 4, mayTake: anything }))).toBe("bcab");
  });

  it("keeps a tenant's own order", () => {
    fc.assert(
      fc.property(backlog, slots, (all, n) => {
        const picked = new Rota().pick(all, { slots: n, mayTake: anything });
        for (const tenant of new Set(picked.map((one) => one.tenant))) {
          const own = all.filter((one) => one.tenant === tenant);
          expect(picked.filter((one) => one.tenant === tenant)).toEqual(own.slice(0, count(picked, tenant)));
        }
      }),
    );
  });

  it("fills the slots as far as there is work, and never more, whatever anybody owes", () => {
    fc.assert(
      fc.property(backlog, slots, charges, (all, n, owed) => {
        const rota = new Rota();
        rota.pick(all, { slots: 1, mayTake: anything });
        for (const [tenant, runs] of owed) rota.charge(tenant, runs);
        const picked = rota.pick(all, { slots: n, mayTake: anything });
        expect(picked).toHaveLength(Math.min(n, all.length));
        expect(new Set(picked).size).toBe(picked.length);
      }),
    );
  });

  it("differs by one run at most among tenants that have enough work and owe nothing", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), fc.array(slots, { minLength: 1, maxLength: 10 }), (n, picks) => {
        const rota = new Rota();
        const names = ["a", "b", "c", "d", "e"].slice(0, n);
        const all = names.flatMap((tenant) => work(tenant, 12));
        const picked = picks.flatMap((many) => rota.pick(all, { slots: many, mayTake: anything }));
        const counts = names.map((tenant) => count(picked, tenant));
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it("lets nobody with work wait for more picks than the others could owe together", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), fc.array(fc.nat(30), { maxLength: 80 }), (n, lengths) => {
        const rota = new Rota();
        const names = ["a", "b", "c", "d", "e"].slice(0, n);
        const all = names.flatMap((tenant) => work(tenant, 3));
        const waited = new Map(names.map((tenant) => [tenant, 0]));
        for (const runs of lengths) {
          const [picked] = rota.pick(all, { slots: 1, mayTake: anything });
          if (!picked) throw new Error("nobody was picked");
          rota.charge(picked.tenant, runs);
          for (const tenant of names) waited.set(tenant, tenant === picked.tenant ? 0 : (waited.get(tenant) ?? 0) + 1);
          expect(Math.max(...waited.values())).toBeLessThanOrEqual((MOST_OWED + 1) * n);
        }
      }),
    );
  });

  it("lets a tenant whose threads take many runs pay them back, run for run", () => {
    const share = (isCharged: boolean): readonly number[] => {
      const rota = new Rota();
      const all = [...work("a", 9), ...work("b", 9)];
      const runs = { a: 0, b: 0 };
      for (let i = 0; i < 110; i++) {
        const [picked] = rota.pick(all, { slots: 1, mayTake: anything });
        const tenant = picked?.tenant === "a" ? "a" : "b";
        const took = tenant === "a" ? 10 : 1;
        runs[tenant] += took;
        if (isCharged) rota.charge(tenant, took);
      }
      return [runs.a, runs.b];
    };
    const [long = 0, short = 0] = share(true);
    expect(Math.abs(long - short)).toBeLessThanOrEqual(MOST_OWED + 1);
    const [uncharged = 0, others = 0] = share(false);
    expect(uncharged).toBeGreaterThan(9 * others);
  });

  it("saves nothing up for who has no work", () => {
    const rota = new Rota();
    for (let i = 0; i < 50; i++) rota.pick(work("a", 1), { slots: 1, mayTake: anything });
    const picked = rota.pick([...work("a", 9), ...work("b", 9)], { slots: 8, mayTake: anything });
    expect([count(picked, "a"), count(picked, "b")]).toEqual([4, 4]);
  });

  it("gives a tenant no more than it may take, and its turns to the others", () => {
    fc.assert(
      fc.property(backlog, slots, fc.nat(4), (all, n, cap) => {
        const mayTake = (tenant: string, given: number): boolean => tenant !== "a" || given < cap;
        const picked = new Rota().pick(all, { slots: n, mayTake });
        expect(count(picked, "a")).toBeLessThanOrEqual(cap);
        const possible = all.length - Math.max(0, count(all, "a") - cap);
        expect(picked).toHaveLength(Math.min(n, possible));
      }),
    );
  });

  it("comes to an end where nobody may take anything", () => {
    expect(new Rota().pick(work("a", 3), { slots: 3, mayTake: () => false })).toEqual([]);
    expect(new Rota().pick([], { slots: 3, mayTake: anything })).toEqual([]);
  });
});

/**
 * Whose turn it is: deficit round robin over tenants (Shreedhar and Varghese, 1995). Every round gives each tenant that
 * has work the right to one run; one that was given more than a run at once (a thread with a long queue) pays it back.
 */

/** What a tenant may be picked for: `key` is unique, and the order is that in which its own work is to be done. */
export interface Candidate {
  readonly tenant: string;
  readonly key: string;
}

export interface Free {
  readonly slots: number;
  /** Whether the tenant may be given one more, besides what it has been given in this very pick. */
  readonly mayTake: (tenant: string, given: number) => boolean;
}

/** A thread may be held for this many runs: nobody owes more. */
const MOST_OWED = 10;

export class Rota {
  #credit = new Map<string, number>();
  #last = "";

  /** At most `slots` of the candidates, fairly over their tenants; within a tenant in the order in which they are given. */
  pick<T extends Candidate>(candidates: readonly T[], { slots, mayTake }: Free): readonly T[] {
    const byTenant = Map.groupBy(candidates, ({ tenant }) => tenant);
    const names = [...byTenant.keys()].toSorted();
    // Who has no work now saves nothing up.
    this.#credit = new Map(names.map((name) => [name, Math.min(0, this.#credit.get(name) ?? 0)]));
    const start = names.findIndex((name) => name > this.#last);
    const turns = start < 0 ? names : [...names.slice(start), ...names.slice(0, start)];
    const picked: T[] = [];
    const given = new Map<string, number>();
    const canGoOn = (name: string): boolean => {
      const n = given.get(name) ?? 0;
      return n < (byTenant.get(name)?.length ?? 0) && mayTake(name, n);
    };
    for (let open = turns.filter(canGoOn); open.length > 0 && picked.length < slots; open = open.filter(canGoOn)) {
      for (const name of open) {
        const credit = (this.#credit.get(name) ?? 0) + 1;
        const n = given.get(name) ?? 0;
        const next = byTenant.get(name)?.[n];
        const takes = credit > 0 && next !== undefined && picked.length < slots;
        this.#credit.set(name, takes ? credit - 1 : Math.min(credit, 0));
        if (!takes) continue;
        picked.push(next);
        given.set(name, n + 1);
        this.#last = name;
      }
    }
    return picked;
  }

  /** A pick turned out to be `runs` runs. */
  charge(tenant: string, runs: number): void {
    if (runs <= 1) return;
    this.#credit.set(tenant, Math.max(-MOST_OWED, (this.#credit.get(tenant) ?? 0) - (runs - 1)));
  }
}

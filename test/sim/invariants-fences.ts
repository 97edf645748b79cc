/** What must be true of fences (I2) and of the log (I3). */
import { factsOf } from "./facts.ts";
import { tagOf } from "./history.ts";
import type { Invariants } from "./history.ts";

export const fenceInvariants: Invariants = {
  "every holder has a fence of its own, and fences only rise": ({ facts }, report) => {
    const owners = new Map<string, string>();
    const last = new Map<string, number>();
    for (const fact of factsOf(facts, "header")) {
      const { threadId, fence, lease } = fact.thread;
      if (fence < (last.get(threadId) ?? 0)) report(fact, `the fence of ${threadId} fell to ${fence}`);
      last.set(threadId, fence);
      if (!lease) continue;
      const owner = owners.get(`${threadId} ${fence}`) ?? lease.owner;
      if (owner !== lease.owner) report(fact, `${owner} and ${lease.owner} both hold ${threadId} under fence ${fence}`);
      owners.set(`${threadId} ${fence}`, owner);
    }
  },

  "no record of a lower fence stands above one of a higher": ({ facts }, report) => {
    const tops = new Map<string, { readonly seq: number; readonly fence: number }>();
    for (const fact of factsOf(facts, "record")) {
      const { thread, generation, ns, seq, fence, overwritten } = fact.record;
      const name = `${thread} ${generation} ${ns}`;
      const top = tops.get(name) ?? { seq: 0, fence: 0 };
      if (overwritten) report(fact, `record ${seq} of ${thread} was overwritten`);
      if (seq !== top.seq + 1) report(fact, `record ${seq} of ${thread} follows ${top.seq}`);
      if (fence < top.fence) report(fact, `record ${seq} of ${thread} has fence ${fence} above ${top.fence}`);
      tops.set(name, { seq, fence });
    }
  },

  "the checkpoints of a thread are one chain": ({ facts }, report) => {
    /** Of each thread, the newest visible checkpoint at each position. */
    const heads = new Map<string, (string | undefined)[]>();
    for (const fact of factsOf(facts, "record")) {
      const { thread, generation, ns, seq, kind, parentId, checkpointId, targetSeq } = fact.record;
      const name = `${thread} ${generation} ${ns}`;
      const visible = heads.get(name) ?? [undefined];
      heads.set(name, visible);
      const head = visible[seq - 1];
      if (kind === "checkpoint" && parentId !== head)
        report(fact, `record ${seq} of ${thread} has another parent than the head`);
      visible[seq] = kind === "checkpoint" ? checkpointId : kind === "reset" ? visible[targetSeq ?? 0] : head;
    }
  },

  "no event of a lower fence follows one of a higher, and none is missing": ({ facts }, report) => {
    const ends = new Map<string, { readonly next: number; readonly fence: number }>();
    for (const fact of factsOf(facts, "events")) {
      const name = `${fact.thread} ${fact.generation}`;
      const end = ends.get(name) ?? { next: 0, fence: 0 };
      if (fact.first !== end.next) report(fact, `events of ${fact.thread} go on at ${fact.first} after ${end.next}`);
      if (fact.fence < end.fence) report(fact, `events of ${fact.thread} of fence ${fact.fence} follow ${end.fence}`);
      ends.set(name, { next: fact.first + fact.count, fence: fact.fence });
    }
  },

  "a run is never written under a lower fence than before": ({ facts }, report) => {
    const fences = new Map<string, number>();
    for (const fact of factsOf(facts, "run")) {
      const before = fences.get(fact.run.runId) ?? 0;
      if (fact.run.fence < before)
        report(fact, `run ${tagOf(fact.run)} went from fence ${before} to ${fact.run.fence}`);
      fences.set(fact.run.runId, fact.run.fence);
    }
  },
};

/**
 * Who holds a lease. An owner's id says on which machine, boot and pid namespace its process runs, so that a process
 * of the same machine can tell at once that it is dead, instead of watching a whole lease pass.
 *
 * I2 does not rest on this: a wrong "dead" costs a needless takeover, and the fence refuses the earlier holder's writes.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import type { IdSource } from "../core/ids.ts";

/** What tells one process of one machine from every other, also after a pid has come round again. */
interface Identity {
  readonly host: string;
  readonly boot: string;
  readonly pidNamespace: string;
  readonly pid: string;
  readonly startTicks: string;
  /** False where there is no `/proc`, and so nothing to be known about any process. */
  readonly observable: boolean;
}

/** The owner that this process is, and what it can say about others. */
export interface ProcessOwner {
  /** `<host>/<boot id>/<pid namespace>/<pid>/<process start ticks>/<random>`. */
  readonly id: string;
  /** What follows the random part, such as the name of one claim, is not looked at. True only when the owner's process ran on this machine, in this boot and namespace, and runs no more. */
  isKnownDead(owner: string): boolean;
}

/** Reads the identity of this process from `/proc`; on systems without it nobody is ever known to be dead. */
export function processOwner(ids: IdSource, proc = "/proc"): ProcessOwner {
  const self = ownIdentity(ids, proc);
  return {
    id: [self.host, self.boot, self.pidNamespace, self.pid, self.startTicks, ids.token(8)].join("/"),
    isKnownDead(owner) {
      const [host, boot, pidNamespace, pid, startTicks, random] = owner.split("/");
      if (!self.observable || random === undefined || !/^\d+$/.test(pid ?? "")) return false;
      if (host !== self.host || boot !== self.boot || pidNamespace !== self.pidNamespace) return false;
      const found = processState(proc, pid ?? "");
      return found === "gone" || (found !== "unknown" && found.startTicks !== startTicks);
    },
  };
}

function ownIdentity(ids: IdSource, proc: string): Identity {
  const host = hostname().replaceAll("/", "_");
  const found = processState(proc, "self");
  try {
    const boot = readFileSync(`${proc}/sys/kernel/random/boot_id`, "utf8").trim();
    const pidNamespace = /\d+/.exec(readlinkSync(`${proc}/self/ns/pid`))?.[0];
    if (typeof found === "object" && pidNamespace !== undefined) {
      return { host, boot, pidNamespace, pid: String(process.pid), startTicks: found.startTicks, observable: true };
    }
  } catch {
    // No /proc here: an identity that equals no other process's.
  }
  return { host, boot: ids.token(16), pidNamespace: "0", pid: String(process.pid), startTicks: "0", observable: false };
}

type ProcessState = "gone" | "unknown" | { readonly startTicks: string };

/** A process that was killed and not yet reaped counts as gone: it will never run again. */
function processState(proc: string, pid: string): ProcessState {
  try {
    // The command's name stands in parentheses and may itself hold spaces and parentheses.
    const fields = readFileSync(`${proc}/${pid}/stat`, "utf8").replace(/^.*\)/s, "").trim().split(" ");
    const state = fields[0];
    const startTicks = fields[19];
    if (state === "Z" || state === "X") return "gone";
    return startTicks === undefined ? "unknown" : { startTicks };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return code === "ENOENT" || code === "ESRCH" ? "gone" : "unknown";
  }
}

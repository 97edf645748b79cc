import { describe, expect, it } from "vitest";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../src/core/ids.ts";
import { processOwner } from "../../src/local/owner.ts";

/** A `/proc` of one's own: two processes, of which one is this. */
async function fakeProc(): Promise<{ readonly dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-proc-"));
  await mkdir(join(dir, "sys/kernel/random"), { recursive: true });
  await writeFile(join(dir, "sys/kernel/random/boot_id"), "boot-1\n");
  await mkdir(join(dir, "self/ns"), { recursive: true });
  await symlink("pid:[4026531836]", join(dir, "self/ns/pid"));
  await writeFile(join(dir, "self/stat"), statOf(1, "S", 100));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) };
}

async function putProcess(dir: string, pid: number, state: string, startTicks: number): Promise<void> {
  await mkdir(join(dir, String(pid)), { recursive: true });
  await writeFile(join(dir, String(pid), "stat"), statOf(pid, state, startTicks));
}

const statOf = (pid: number, state: string, startTicks: number): string =>
  `${pid} (node (a) b) ${state} ${Array.from({ length: 18 }, (_, i) => i).join(" ")} ${startTicks} 0 0`;

describe("the owner of a lease", () => {
  it("is never known dead while its process runs, on the real machine", () => {
    const own = processOwner(systemIds);
    expect(own.id.split("/")).toHaveLength(6);
    expect(own.isKnownDead(own.id)).toBe(false);
  });

  it("is known dead as soon as a real process was killed", async () => {
    const own = processOwner(systemIds);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000); console.log('up')"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    await once(child.stdout, "data");
    const parts = own.id.split("/");
    const pid = String(child.pid);
    const startTicks = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\)/s, "").trim().split(" ")[19];
    const owner = [...parts.slice(0, 3), pid, startTicks, "00"].join("/");
    expect(own.isKnownDead(owner)).toBe(false);
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    expect(own.isKnownDead(owner)).toBe(true);
    expect(own.isKnownDead(`${owner}/one-claim-of-it`)).toBe(true);
  });

  it("is dead when its pid is gone, was given to another process, or is a zombie", async () => {
    await using proc = await fakeProc();
    const own = processOwner(systemIds, proc.dir);
    const [host, boot, ns] = own.id.split("/");
    const owner = (pid: number, ticks: number): string => [host, boot, ns, pid, ticks, "ff"].join("/");
    await putProcess(proc.dir, 7, "R", 500);
    await putProcess(proc.dir, 8, "Z", 600);
    expect(own.isKnownDead(owner(7, 500))).toBe(false);
    expect(own.isKnownDead(owner(7, 499))).toBe(true);
    expect(own.isKnownDead(owner(8, 600))).toBe(true);
    expect(own.isKnownDead(owner(9, 500))).toBe(true);
  });

  it("is never known dead on another host, after another boot or in another pid namespace", async () => {
    await using proc = await fakeProc();
    const own = processOwner(systemIds, proc.dir);
    const [host, boot, ns] = own.id.split("/");
    const others = [
      ["elsewhere", boot, ns],
      [host, "boot-0", ns],
      [host, boot, "1"],
    ];
    for (const other of others) expect(own.isKnownDead([...other, 9, 500, "ff"].join("/"))).toBe(false);
    for (const malformed of ["", "worker-1", `${host}/${boot}/${ns}/../9/ff`])
      expect(own.isKnownDead(malformed)).toBe(false);
  });

  it("knows nobody to be dead where there is no /proc", () => {
    const own = processOwner(systemIds, "/nowhere");
    const [host, boot, ns] = own.id.split("/");
    expect(own.isKnownDead([host, boot, ns, 999_999, 1, "ff"].join("/"))).toBe(false);
    expect(own.isKnownDead(own.id)).toBe(false);
  });
});

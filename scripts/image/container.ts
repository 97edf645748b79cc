/**
 * A container of the image under runc, as strict as the task definition on AWS: the user of the image, its root read-only,
 * no capability, and nothing to write to but its volumes. It shares the network of this machine.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { capture } from "../run.ts";
import type { Finished } from "../run.ts";
import type { Image } from "./build.ts";

export interface Container extends AsyncDisposable {
  /** What the kernel says of its first process: `Uid`, `CapEff`, … */
  status(): Promise<ReadonlyMap<string, string>>;
  /** Runs a command in it. */
  exec(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Finished>;
  /** Sends SIGTERM and answers the exit code. */
  stop(): Promise<number>;
  readonly lines: () => string;
}

export interface ContainerOptions {
  readonly image: Image;
  readonly env: Readonly<Record<string, string>>;
}

/** Starts it; it may take a while until it is ready. */
export async function startContainer({ image, env }: ContainerOptions): Promise<Container> {
  const bundle = await mkdtemp(join(tmpdir(), "holdpoint-image-"));
  const name = basename(bundle);
  await writeFile(join(bundle, "config.json"), JSON.stringify(bundleOf(image, env)));
  const child = spawn("runc", ["run", "--bundle", bundle, name], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => void (output += text));
  const exited = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
  const runc = (...args: readonly string[]): Promise<Finished> => capture("runc", "runc", args);
  return {
    async status() {
      const { pid } = JSON.parse((await runc("state", name)).output) as { readonly pid: number };
      const lines = (await readFile(`/proc/${pid}/status`, "utf8")).split("\n");
      return new Map(
        lines.map((line): [string, string] => [line.split(":")[0] ?? "", line.split(":")[1]?.trim() ?? ""]),
      );
    },
    exec: (args, given = {}) =>
      runc("exec", ...Object.entries(given).flatMap(([key, value]) => ["--env", `${key}=${value}`]), name, ...args),
    async stop() {
      await runc("kill", name, "SIGTERM");
      return exited;
    },
    lines: () => output,
    async [Symbol.asyncDispose]() {
      await runc("delete", "--force", name);
      await exited.catch(() => undefined);
      await rm(bundle, { recursive: true, force: true });
    },
  };
}

/** The bundle of the Open Container Initiative's runtime specification. */
function bundleOf({ config, root }: Image, env: Readonly<Record<string, string>>) {
  const [uid = 0, gid = 0] = config.User.split(":").map(Number);
  const names = new Set(Object.keys(env));
  const inherited = config.Env.filter((one) => !names.has(one.split("=")[0] ?? ""));
  const volumes = Object.keys(config.Volumes).map((destination) => ({
    destination,
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "nodev", `uid=${uid}`, `gid=${gid}`, "mode=0700"],
  }));
  const none: readonly string[] = [];
  return {
    ociVersion: "1.0.2",
    process: {
      user: { uid, gid },
      args: [...config.Entrypoint, ...config.Cmd],
      env: [...inherited, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)],
      cwd: config.WorkingDir,
      capabilities: { bounding: none, effective: none, permitted: none, inheritable: none, ambient: none },
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      ...volumes,
    ],
    linux: { namespaces: ["pid", "mount", "ipc"].map((type) => ({ type })) },
  };
}

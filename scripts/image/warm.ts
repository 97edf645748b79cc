/**
 * Starts the compiled service once and ends it, so that what Node compiles is kept in the folder that is named: the image is
 * then ready sooner. Node keeps it for each user and each set of its flags: both are those of the image. Imports nothing but
 * Node's own, since the image is being built.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const USER = { uid: 10001, gid: 10001 } as const;
const folder = resolve(process.argv[2] ?? "compile-cache");
const dataDir = await mkdtemp(join(tmpdir(), "holdpoint-warm-"));
await mkdir(folder, { recursive: true });
for (const own of [folder, dataDir]) await chown(own, USER.uid, USER.gid);

const args = ["--max-semi-space-size=16", "--heap-growing-percent=50", "dist/main.js", "start", "--port", "0"];
const settings = { HOLDPOINT_CONFIG: "dist/langgraph.json", HOLDPOINT_DATA_DIR: dataDir };
const env = { ...process.env, ...settings, NODE_COMPILE_CACHE: folder };
const service = spawn(process.execPath, args, { ...USER, env, stdio: ["ignore", "pipe", "inherit"] });
service.stdout.setEncoding("utf8").on("data", (text: string) => {
  process.stdout.write(text);
  if (text.includes('"ready"')) service.kill("SIGTERM");
});
await once(service, "exit");
process.exitCode = service.exitCode ?? 1;

/**
 * Builds the image without a Docker engine: Buildah, and, where the base cannot be pulled, a base like it made of Debian's
 * packages, this project's Node and npm. Everything is kept under `.cache/image`.
 */
import { copyFile, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { capture, foreground } from "../run.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const CACHE = join(PROJECT, ".cache/image");
const ROOTFS = join(CACHE, "rootfs.tar");
const BASE = "localhost/node:24-slim";
const IMAGE = "localhost/holdpoint";
const NPM = "11.19.1";
const STORAGE = ["--root", join(CACHE, "storage"), "--runroot", join(CACHE, "run"), "--storage-driver", "vfs"] as const;
const TOOLS = ["buildah", "runc", "mmdebstrap"] as const;

/** What is missing for it, in words; undefined when it can be done here. */
export async function whyNoImage(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "only root may mount and start containers";
  const found = await Promise.all(TOOLS.map((tool) => capture(tool, tool, ["--version"])));
  const missing = found.filter(({ code }) => code !== 0).map(({ name }) => name);
  return missing.length === 0 ? undefined : `there is no ${missing.join(", no ")}`;
}

/** What the image says of how it is to be run. */
const imageConfig = z.object({
  User: z.string(),
  Env: z.array(z.string()),
  Entrypoint: z.array(z.string()),
  Cmd: z.array(z.string()),
  WorkingDir: z.string(),
  Volumes: z.record(z.string(), z.unknown()),
  Healthcheck: z.object({ Test: z.array(z.string()) }),
});

const inspected = z.object({ Docker: z.object({ config: imageConfig }), Manifest: z.string() });
const manifest = z.object({ layers: z.array(z.object({ size: z.number() })) });

export interface Image extends AsyncDisposable {
  readonly config: z.output<typeof imageConfig>;
  /** Folder of the root that containers of it see. */
  readonly root: string;
  /** Bytes of its layers on top of the base's, not compressed. */
  readonly bytesOnTop: number;
}

/** Builds the image and unpacks it; disposing removes both. @throws Error with what the failing tool said */
export async function buildImage(): Promise<Image> {
  await using opening = new AsyncDisposableStack();
  await mkdir(CACHE, { recursive: true });
  opening.defer(() => removeStorage());
  await makeBase();
  await buildah(
    "bud",
    "--isolation",
    "chroot",
    "--format",
    "docker",
    "--pull-never",
    "--build-arg",
    `BASE_IMAGE=${BASE}`,
    "-t",
    IMAGE,
    PROJECT,
  );
  const [base, image] = await Promise.all([look(BASE), look(IMAGE)]);
  const container = await said("from", "--pull-never", IMAGE);
  const root = await said("mount", container);
  const opened = opening.move();
  return {
    config: image.config,
    root,
    bytesOnTop: image.bytes - base.bytes,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** `node:24-slim` in all that matters here. */
async function makeBase(): Promise<void> {
  if (!(await stat(ROOTFS).catch(() => undefined))) {
    const made = `${ROOTFS}.part.tar`;
    await run("mmdebstrap", "--variant=essential", "--include=ca-certificates,libstdc++6", "bookworm", made);
    await rename(made, ROOTFS);
  }
  const context = join(CACHE, "base");
  await rm(context, { recursive: true, force: true });
  await mkdir(context, { recursive: true });
  await run("npm", "install", "--no-save", "--ignore-scripts", "--prefix", context, `npm@${NPM}`);
  await Promise.all([
    copyFile(process.execPath, join(context, "node")),
    copyFile(ROOTFS, join(context, "rootfs.tar")),
    // Whoever this machine trusts: its registry may be behind a proxy.
    copyFile("/etc/ssl/certs/ca-certificates.crt", join(context, "ca-certificates.crt")),
    writeFile(join(context, "Dockerfile"), BASE_FILE),
  ]);
  await buildah("bud", "--isolation", "chroot", "-t", BASE, context);
  await rm(context, { recursive: true, force: true });
}

const BASE_FILE = `FROM scratch
ADD rootfs.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY node /usr/local/bin/node
COPY node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
`;

async function look(image: string): Promise<{ readonly config: Image["config"]; readonly bytes: number }> {
  const text = await said("inspect", "--type", "image", image);
  const raw = JSON.parse(text) as { readonly Manifest: string };
  const { layers } = manifest.parse(JSON.parse(raw.Manifest));
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const parsed = inspected.safeParse(raw);
  // The base says nothing of how it is to be run.
  return { config: parsed.data?.Docker.config ?? NO_CONFIG, bytes };
}

const NO_CONFIG: Image["config"] = {
  User: "",
  Env: [],
  Entrypoint: [],
  Cmd: [],
  WorkingDir: "/",
  Volumes: {},
  Healthcheck: { Test: [] },
};

async function removeStorage(): Promise<void> {
  await capture("buildah umount", "buildah", [...STORAGE, "umount", "--all"]);
  await capture("buildah rm", "buildah", [...STORAGE, "rm", "--all"]);
  await rm(join(CACHE, "storage"), { recursive: true, force: true });
  await rm(join(CACHE, "run"), { recursive: true, force: true });
}

async function run(command: string, ...args: readonly string[]): Promise<void> {
  const code = await foreground(command, args);
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
}

const buildah = (...args: readonly string[]): Promise<void> => run("buildah", ...STORAGE, ...args);

async function said(...args: readonly string[]): Promise<string> {
  const { code, output } = await capture("buildah", "buildah", [...STORAGE, ...args]);
  if (code !== 0) throw new Error(`buildah ${args[0]} failed: ${output}`);
  return output.trim();
}

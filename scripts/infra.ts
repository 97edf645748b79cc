/** `npm run infra:synth`: installs what the stacks need, which is no part of the service's own install, and publishes the templates. */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { capture, foreground } from "./run.ts";

const INFRA = resolve(import.meta.dirname, "../infra");
/** Says for which lockfile the packages that are there were installed. */
const INSTALLED = join(INFRA, "node_modules/.installed");

/** Installs the packages of `infra/`, unless those of its lockfile are there. @throws Error with what npm said */
export async function installInfra(): Promise<void> {
  const lock = await readFile(join(INFRA, "package-lock.json"), "utf8");
  if ((await readFile(INSTALLED, "utf8").catch(() => "")) === lock) return;
  console.log("installing the packages of infra/");
  const { code, output } = await capture("npm ci", "npm", ["ci", "--ignore-scripts", "--prefix", INFRA]);
  if (code !== 0) throw new Error(`npm ci in infra/ failed: ${output}`);
  await writeFile(INSTALLED, lock);
}

if (import.meta.main) {
  await installInfra();
  process.exitCode = await foreground(process.execPath, [join(INFRA, "synth.ts")]);
}

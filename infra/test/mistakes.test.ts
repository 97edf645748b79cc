/** Mistakes in the files of environments: each is told with its file, and what is published stays. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** The stacks in a folder of their own, in whose files anything may be written. */
let infra = "";

beforeAll(() => {
  infra = join(mkdtempSync(join(tmpdir(), "holdpoint-infra-")), "infra");
  for (const name of ["app.ts", "synth.ts", "refusing.ts", "package.json", "lib", "environments", "templates"])
    cpSync(join(ROOT, "infra", name), join(infra, name), { recursive: true });
  for (const name of ["src", "infra/node_modules"]) symlinkSync(join(ROOT, name), join(infra, "..", name));
  cpSync(fileOf("production"), fileOf("copy"));
  change("development", () => ({ name: "D", zone: "a" }));
  change("production", ({ worker }) => ({ worker: { ...(worker as object), maxTasks: 1 } }));
  writeFileSync(fileOf("staging"), '{ "name": "staging", }');
});

afterAll(() => rmSync(join(infra, ".."), { recursive: true }));

type File = Readonly<Record<string, unknown>>;

const fileOf = (environment: string): string => join(infra, "environments", `${environment}.json`);

function change(environment: string, by: (file: File) => File): void {
  const file = JSON.parse(readFileSync(fileOf(environment), "utf8")) as File;
  writeFileSync(fileOf(environment), JSON.stringify({ ...file, ...by(file) }));
}

const LINES = [
  /^copy\.json: name: that of the file is expected$/,
  /^development\.json: name: lower-case letters, digits and hyphens, 2 to 16 of them$/,
  /^development\.json: Unrecognized key: "zone"$/,
  /^production\.json: worker\.minTasks: more than maxTasks$/,
  /^staging\.json: .*JSON/,
  /^$/,
];

it.each(["synth.ts", "app.ts"])(
  "%s tells all of them, a line for each, and leaves what is published",
  (script) => {
    const { status, stderr } = spawnSync(process.execPath, [join(infra, script)], { encoding: "utf8" });
    expect([status, stderr.split("\n")]).toEqual([1, LINES.map((line): unknown => expect.stringMatching(line))]);
    const published = "templates/production/data.json";
    expect(readFileSync(join(infra, published), "utf8")).toBe(readFileSync(join(ROOT, "infra", published), "utf8"));
  },
  60_000,
);

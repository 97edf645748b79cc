/** The layer rule bites: each fixture breaks it in one way, the clean ones keep it, and without the rule nothing is said. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const project = resolve(import.meta.dirname, "../..");
const fixtures = join(project, "test/fixtures/layers");
const rule = "no-restricted-imports";

interface Override {
  readonly files: readonly string[];
  readonly rules: Readonly<Record<string, unknown>>;
}
interface LintConfig {
  readonly overrides: readonly Override[];
}

const config = JSON.parse(readFileSync(join(project, ".oxlintrc.json"), "utf8")) as LintConfig;
const layers = config.overrides.filter((override) => rule in override.rules);
const files = readdirSync(fixtures, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(fixtures, join(entry.parentPath, entry.name)))
  .toSorted();
const clean = files.filter((file) => /(?:^|\/)clean\.ts$|^src\/main\.ts$/.test(file));
const broken = files.filter((file) => !clean.includes(file));

/** The fixtures that the layer rule reports under these overrides, linted with nothing else switched on. */
function reported(overrides: readonly Override[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), "holdpoint-layers-"));
  try {
    cpSync(fixtures, folder, { recursive: true });
    writeFileSync(join(folder, ".gitignore"), "node_modules/\n");
    writeFileSync(join(folder, ".oxlintrc.json"), JSON.stringify({ categories: { correctness: "off" }, overrides }));
    const oxlint = join(project, "node_modules/oxlint/bin/oxlint");
    const run = spawnSync(process.execPath, [oxlint, "--format=json", "."], { cwd: folder, encoding: "utf8" });
    const { diagnostics } = JSON.parse(run.stdout) as { diagnostics: readonly { code: string; filename: string }[] };
    return [
      ...new Set(diagnostics.filter(({ code }) => code.includes(rule)).map(({ filename }) => filename)),
    ].toSorted();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("the layer rule", () => {
  it("reports every fixture that breaks it and none that keeps it", () => {
    expect(broken.length).toBeGreaterThan(30);
    expect(reported(layers)).toEqual(broken);
  });

  it("reports nothing when it is switched off", () => {
    const off = layers.map(({ files: globs }) => ({ files: globs, rules: { [rule]: "off" } }));
    expect(reported(off)).toEqual([]);
  });

  it.each(layers.map(({ files: globs }) => globs.join(" ")))("needs its part for %s", (globs) => {
    const others = layers.filter((layer) => layer.files.join(" ") !== globs);
    expect(reported(others).length).toBeLessThan(broken.length);
  });

  it("is the rule that the project itself is linted with", () => {
    const oxlint = join(project, "node_modules/oxlint/bin/oxlint");
    const shown = execFileSync(process.execPath, [oxlint, "--print-config"], { cwd: project, encoding: "utf8" });
    expect((JSON.parse(shown) as LintConfig).overrides.filter((override) => rule in override.rules)).toHaveLength(
      layers.length,
    );
  });

  it("speaks of every folder of the source", () => {
    const folders = readdirSync(join(project, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== "main")
      .map((entry) => `src/${entry.name}/**`);
    const covered = layers.flatMap((layer) => layer.files);
    expect(folders.filter((folder) => !covered.includes(folder))).toEqual([]);
  });
});

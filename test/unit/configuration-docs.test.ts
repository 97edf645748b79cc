/** docs/configuration.md is what its script makes of the settings. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { configurationDocument } from "../../scripts/configuration.ts";
import { SETTINGS } from "../../src/config.ts";

const FILE = join(resolve(import.meta.dirname, "../.."), "docs/configuration.md");

describe("docs/configuration.md", () => {
  it("is what `npm run docs:configuration` makes of the settings now", () => {
    expect(readFileSync(FILE, "utf8")).toBe(configurationDocument());
  });

  it("has every setting once, with what may stand there and the default", () => {
    const text = configurationDocument();
    for (const { name, flag, fallback, description } of SETTINGS) {
      const rows = text.split("\n").filter((line) => line.startsWith(`| \`${name}\``));
      expect(rows).toHaveLength(1);
      for (const said of [flag && `\`--${flag}\``, fallback && `\`${fallback}\``, description])
        if (said !== undefined) expect(rows[0]).toContain(said);
    }
  });

  it("shows bounds and choices as the schema has them", () => {
    const text = configurationDocument();
    expect(text).toContain("| `HOLDPOINT_ROLE`<br>`--role` | `api`, `worker`, `all` | `all` |");
    expect(text).toContain("| `HOLDPOINT_PORT`<br>`--port` | 0 to 65,535 | `2024` |");
  });
});

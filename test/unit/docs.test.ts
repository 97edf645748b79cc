/** What the documents say of settings, limits, states, errors, routes, log lines and files is what the code says. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { SETTINGS } from "../../src/config.ts";
import { HoldpointError } from "../../src/core/errors.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, LIMIT_SETTINGS, limitError } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";
import { WIRE_RUN_STATUSES } from "../../src/core/wire-status.ts";
import { problemOf } from "../../src/http/errors.ts";
import { allRoutes } from "../support/routes.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(PROJECT, path), "utf8");
const under = (folder: string, ending: string): readonly string[] =>
  readdirSync(join(PROJECT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name).slice(PROJECT.length + 1));

const DOCUMENTS = [...readdirSync(PROJECT).filter((name) => name.endsWith(".md")), ...under("docs", ".md")];
const OPERATIONS = read("docs/operations.md");
const SOURCE = under("src", ".ts").map(read).join("\n");

/** The members of a union of names, or of the tags of a union of objects, as the source spells it. */
function membersOf(file: string, type: string): readonly string[] {
  const source = read(file);
  const begin = source.indexOf(`export type ${type} =`);
  const union = source.slice(begin, source.indexOf("\n\n", begin)).replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, "");
  const tagged = [...union.matchAll(/readonly (?:kind|do): ((?:"\w+"(?: \| )?)+)/g)].map(([, tags]) => tags);
  const named = (tagged.length > 0 ? tagged.join() : union).matchAll(/"(\w+)"/g);
  return [...named].map(([, name = ""]) => name);
}

/** What stands between `<!-- name -->` and `<!-- /name -->` in docs/operations.md. */
function section(name: string): string {
  const [, text] = new RegExp(`<!-- ${name} -->\n(.*?)\n?<!-- /${name} -->`, "s").exec(OPERATIONS) ?? [];
  return text ?? "";
}

/** Text under a heading, up to the next one of any level. */
const underHeading = (heading: string): string =>
  new RegExp(`^#+ ${heading}\n(.*?)(?=^#|(?![^]))`, "ms").exec(OPERATIONS)?.[1] ?? "";

const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const code = (text: string | undefined): string => (text === undefined ? "" : `\`${text}\``);

/** A bound as people write it. */
function shown(limit: string, value: number): string {
  const units: readonly (readonly [number, string])[] = limit.endsWith("Ms")
    ? [
        [86_400_000, "days"],
        [3_600_000, "h"],
        [60_000, "min"],
        [1000, "s"],
      ]
    : limit.endsWith("Bytes")
      ? [
          [1024 ** 2, "MB"],
          [1024, "KB"],
        ]
      : [];
  const fits = units.find(([unit]) => value >= unit && value % unit === 0);
  return fits ? `${value / fits[0]} ${fits[1]}` : value.toLocaleString("en-US");
}

const CODES = membersOf("src/core/errors.ts", "ErrorCode") as readonly ErrorCode[]; // of that very type
const RUN_STATUSES = membersOf("src/core/run.ts", "RunStatus");

describe("docs/operations.md", () => {
  it("lists every setting with its flag, its default and the words of --help", () => {
    const rows = SETTINGS.map(({ name, flag, fallback, description }) => {
      return [code(name), code(flag && `--${flag}`), code(fallback), description];
    });
    expect(section("settings")).toBe(table(["variable", "flag", "default", "what it is"], rows));
  });

  it("lists every limit with its default, its setting and whether a graph may have its own", () => {
    const limits = Object.keys(DEFAULT_LIMITS) as readonly (keyof Limits)[]; // its own keys
    const bound = /limitsSchema = z\.strictObject\(\{(.*?)\}\)/s.exec(read("src/langgraph/graph-config.ts"))?.[1] ?? "";
    const rows = limits.map((limit) => {
      const value = DEFAULT_LIMITS[limit];
      const name = String(limitError(limit, "", value).detail?.["limit"]);
      const own = bound.includes(`${limit}:`) ? code(limit) : "";
      return [name, shown(limit, value), code(LIMIT_SETTINGS[limit]), own];
    });
    expect(section("limits")).toBe(table(["limit", "default", "setting", "in `langgraph.json`"], rows));
  });

  it("lists every error code with its status", () => {
    expect(CODES).toContain("graph_unavailable");
    const rows = section("errors").split("\n").slice(2);
    const expected = CODES.map((name) => `| ${code(name)} | ${problemOf(new HoldpointError(name, "")).status} | `);
    expect(rows.map((row) => row.replace(/[^|]+\|$/, " "))).toEqual(expected);
  });

  it.each([
    ["Run", "src/core/run.ts", "RunStatus"],
    ["Thread header", "src/core/thread.ts", "Due"],
    ["Hold", "src/core/hold.ts", "HoldState"],
    ["Effect", "src/core/effect.ts", "EffectStep"],
    ["Delivery", "src/runtime/delivery/deliver.ts", "Delivered"],
  ])("draws every state of: %s", (heading, file, type) => {
    const members = membersOf(file, type);
    expect(members.length).toBeGreaterThan(3);
    const text = underHeading(heading);
    expect(text).toContain("```mermaid");
    expect(members.filter((member) => !new RegExp(`\\b${member}\\b`).test(text))).toEqual([]);
  });
});

describe("docs/api.md", () => {
  it("names every route", () => {
    // Documents write `/threads/{id}/runs`, and `…/runs` where the beginning is clear from what stands before it.
    const said = read("docs/api.md");
    const missing = allRoutes().filter((route) => {
      const [, path = ""] = route.split(" ");
      const last = path.split("/").findLast((part) => part !== "" && !part.startsWith(":")) ?? "";
      return !new RegExp(`/${last}\\b`).test(said);
    });
    expect(missing).toEqual([]);
  });
});

describe.each(DOCUMENTS)("%s", (document) => {
  it("has links that lead somewhere, and names only what there is", () => {
    expect(mistakesIn(read(document), document)).toEqual([]);
  });
});

it("a document with every mistake is seen through (negative control)", () => {
  const wrong = [
    "[gone](gone.md)",
    "[nowhere](operations.md#nowhere)",
    "`test/unit/gone.test.ts`",
    "`HOLDPOINT_GONE`",
    "status `gone`",
    "error `gone_as_well`",
    "log `nobody ever wrote this`",
  ];
  expect(mistakesIn(wrong.join("\n"), "docs/wrong.md")).toHaveLength(wrong.length);
});

function mistakesIn(text: string, document: string): readonly string[] {
  const found = (pattern: RegExp): readonly string[] => [
    ...new Set([...text.matchAll(pattern)].map(([, name = ""]) => name)),
  ];
  const settings = new Set(SETTINGS.map(({ name }) => name));
  const statuses = new Set([...RUN_STATUSES, ...WIRE_RUN_STATUSES, "idle", "busy"]);
  const errors = new Set<string>([...CODES, "poison"]);
  return [
    ...found(/\]\(([^)\s]+)\)/g).filter((link) => isDead(link, document)),
    ...found(/`((?:src|test|docs|bench|graphs|tools|scripts)\/[\w./-]+\.(?:ts|md|json))`/g).filter(
      (path) => !existsSync(join(PROJECT, path)),
    ),
    ...found(/\b(HOLDPOINT_[A-Z_]+)\b/g).filter((name) => !settings.has(name) && !TEST_VARIABLES.test(name)),
    ...found(/\b(?:status|ends? as|ended as) `([a-z_]+)`/g).filter((name) => !statuses.has(name)),
    ...found(/\berror `([a-z_]+)`/g).filter((name) => !errors.has(name)),
    ...found(/\blog `([^`]+)`/gi).filter((line) => !SOURCE.includes(line)),
  ];
}

function isDead(link: string, document: string): boolean {
  if (/^(https?:|mailto:)/.test(link)) return false;
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? document : join(dirname(document), path);
  if (!existsSync(join(PROJECT, target))) return true;
  return anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
}

/** How many of what the tests do: not the service's settings. */
const TEST_VARIABLES =
  /^HOLDPOINT_(NIGHTLY|REQUIRE_ALL_ENGINES|IMAGE|COLLECTOR|BEIR|[A-Z]+_(ROUNDS|SEED|SCHEDULES|EVERY|RUNS|MINUTES)|KILLS|ZOMBIES|OFFERS|HOLDS|ANSWERS)$/;

/** The anchors of a document's headings, as Git hosts make them. */
function anchorsOf(text: string): readonly string[] {
  const headings = text.replaceAll(/```.*?```/gs, "").matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

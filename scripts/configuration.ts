/** `npm run docs:configuration`: writes docs/configuration.md from the settings' own schema. */
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { environment } from "../src/settings.ts";

const FILE = join(resolve(import.meta.dirname, ".."), "docs/configuration.md");

/** The parts of JSON Schema that the settings make use of. */
const described = z.object({
  type: z.string().optional(),
  format: z.string().optional(),
  pattern: z.string().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  maxLength: z.number().optional(),
  default: z.union([z.string(), z.number()]).optional(),
  description: z.string(),
  flag: z.string().optional(),
});
type Described = z.output<typeof described>;

/** Chapters, by the words that a setting's name has; each goes into the first that fits. */
const CHAPTERS: readonly (readonly [title: string, names: RegExp])[] = [
  ["Secrets and encryption", /_KEYS$|_KEY$|KMS|ENCRYPTION|DATA_KEY/],
  ["Where data is kept", /_TABLE$|_BUCKET|ENDPOINT|AWS_REGION|DATA_DIR|SHARDS/],
  ["Limits", /_MAX_|_TIMEOUT_MS|TENANT_CONCURRENCY|GRAPH_WAIT|EVENT_RETENTION/],
  ["The process", /./],
];

/** Settings whose value must never be shown. */
const SECRETS: readonly string[] = ["HOLDPOINT_ENCRYPTION_KEYS", "LANGGRAPH_AES_KEY", "HOLDPOINT_CALLBACK_KEYS"];

const grouped = (value: number): string => value.toLocaleString("en-US");

/** What may stand there, in a few words. */
function kindOf({ type, format, enum: choices, minimum, maximum, maxLength }: Described): string {
  if (choices !== undefined) return choices.map((choice) => `\`${choice}\``).join(", ");
  if (type === "integer" || type === "number") return `${grouped(minimum ?? 0)} to ${grouped(maximum ?? Infinity)}`;
  if (format === "uri") return "URL";
  return maxLength === undefined ? "text" : `text of at most ${maxLength} characters`;
}

function rowOf(name: string, setting: Described): string {
  const { flag, default: fallback, description } = setting;
  const names = flag === undefined ? `\`${name}\`` : `\`${name}\`<br>\`--${flag}\``;
  const given = fallback === undefined ? "" : `\`${fallback}\``;
  const secret = SECRETS.includes(name) ? " **Secret.**" : "";
  return `| ${names} | ${kindOf(setting)} | ${given} | ${description}${secret} |`;
}

/** The whole document. */
export function configurationDocument(): string {
  const schema = z.toJSONSchema(environment, { io: "input", unrepresentable: "any" });
  const settings = Object.entries(schema.properties ?? {}).map(
    ([name, setting]) => [name, described.parse(setting)] as const,
  );
  const chapterOf = (name: string): string => CHAPTERS.find(([, names]) => names.test(name))?.[0] ?? "";
  const chapters = CHAPTERS.toReversed().map(([title]) => {
    const rows = settings.filter(([name]) => chapterOf(name) === title).map(([name, setting]) => rowOf(name, setting));
    return `## ${title}\n\n| variable and flag | may be | default | what it is |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`;
  });
  return `${HEAD}\n${chapters.join("\n")}`;
}

const HEAD = `# Configuration

<!-- Made by \`npm run docs:configuration\` from src/settings.ts: change that, and make it again. -->

Every setting, by its environment variable and, where it has one, its flag; flags win. A variable that is set to nothing is not set. What is not understood is one line on standard error that names the setting, and exit code 1; variables that begin with \`HOLDPOINT_\` and are no settings are named in a warning at the start. [What each limit does when it is reached](operations.md#limits), and [what \`langgraph.json\` may say of one graph](operations.md#settings), stand in operations.md; the standard variables of OpenTelemetry (\`OTEL_*\`) in [observability.md](observability.md); [which of these the stacks on AWS set](deploy.md#what-tasks-are-told), in deploy.md.
`;

if (import.meta.main) {
  await writeFile(FILE, configurationDocument());
  console.log(`wrote ${FILE}`);
}

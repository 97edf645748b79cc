/** What the CDK's command line runs: every environment, each a stage of its own. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseEnvironment } from "./lib/config.ts";
import { createApp, createStacks } from "./lib/stacks.ts";

const folder = join(import.meta.dirname, "environments");
const app = createApp(join(import.meta.dirname, "cdk.out"));
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  createStacks(app, parseEnvironment(readFileSync(join(folder, file), "utf8")));
}
app.synth();

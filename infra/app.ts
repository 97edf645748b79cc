/** What the CDK's command line runs: every environment, each a stage of its own. */
import { join } from "node:path";
import { readEnvironments } from "./lib/environments.ts";
import { createApp, createStacks } from "./lib/stacks.ts";
import { refusing } from "./refusing.ts";

await refusing(() => {
  const configs = readEnvironments();
  const app = createApp(join(import.meta.dirname, "cdk.out"));
  for (const config of configs) createStacks(app, config);
  app.synth();
});

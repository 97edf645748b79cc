/**
 * Synthesises every environment without asking AWS anything, and publishes the templates: `npm run infra:synth`. Fails on
 * a finding of CloudFormation's validator, or of cdk-nag that is not explained.
 */
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EnvironmentConfig } from "./lib/config.ts";
import { readEnvironments } from "./lib/environments.ts";
import { createApp, createStacks } from "./lib/stacks.ts";
import { refusing } from "./refusing.ts";

/** A template as CloudFormation takes it. */
export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly [section: string]: unknown;
}

export interface Resource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly [attribute: string]: unknown;
}

/** What one environment is made of, by the names of its stacks: data, network, edge, service, scaling, observe. */
export interface Synthesised {
  readonly environment: string;
  readonly templates: Readonly<Record<string, Template>>;
}

export const TEMPLATES = join(import.meta.dirname, "templates");

/** Every environment. @throws Error with all findings, HoldpointError `invalid` with all mistakes of their files */
export async function synthesise(): Promise<readonly Synthesised[]> {
  return synthesiseAll(readEnvironments());
}

/** These environments. @throws Error with all findings */
export async function synthesiseAll(configs: readonly EnvironmentConfig[]): Promise<readonly Synthesised[]> {
  const outdir = await mkdtemp(join(tmpdir(), "holdpoint-synth-"));
  try {
    const app = createApp(outdir);
    const made = configs.map((config) => ({ config, stacks: createStacks(app, config) }));
    const assembly = app.synth();
    return made.map(({ config, stacks }) => {
      const prefix = `holdpoint-${config.name}-`;
      const artifacts = assembly.getNestedAssembly(`assembly-${config.name}`);
      const templates = stacks.all.map(
        (stack) =>
          // What was synthesised from it has this shape.
          [
            stack.stackName.slice(prefix.length),
            artifacts.getStackByName(stack.stackName).template as Template,
          ] as const,
      );
      return { environment: config.name, templates: Object.fromEntries(templates) };
    });
  } finally {
    await rm(outdir, { recursive: true, force: true });
  }
}

/** A template as it is published. */
export const published = (template: Template): string => `${JSON.stringify(template, undefined, 1)}\n`;

async function publish(): Promise<void> {
  const made = await synthesise();
  // Only now: what is published stays until there is something to replace it.
  await rm(TEMPLATES, { recursive: true, force: true });
  for (const { environment, templates } of made) {
    await mkdir(join(TEMPLATES, environment), { recursive: true });
    for (const [stack, template] of Object.entries(templates)) {
      await writeFile(join(TEMPLATES, environment, `${stack}.json`), published(template));
      console.log(`${environment} ${stack}: ${Object.keys(template.Resources).length} resources`);
    }
  }
}

if (import.meta.main) await refusing(publish);

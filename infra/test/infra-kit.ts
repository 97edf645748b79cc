/** What all tests of the stacks look at: every environment, synthesised once. */
import { inject } from "vitest";
import type { EnvironmentConfig } from "../lib/config.ts";
import { readEnvironments } from "../lib/environments.ts";
import type { Resource, Synthesised, Template } from "../synth.ts";

export const environments = (): readonly Synthesised[] => inject("synthesised");

/** What the file of an environment says. */
export function configOf(name: string): EnvironmentConfig {
  const found = readEnvironments().find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no environment ${name}`);
  return found;
}

export interface Found {
  /** `production/service/ApiService…` */
  readonly at: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly resource: Resource;
}

/** Every resource of these types, wherever it stands. */
export function resources(...types: readonly string[]): readonly Found[] {
  return environments().flatMap(({ environment, templates }) =>
    Object.entries(templates).flatMap(([stack, { Resources }]) =>
      Object.entries(Resources)
        .filter(([, { Type }]) => types.includes(Type))
        .map(([id, resource]) => ({
          at: `${environment}/${stack}/${id}`,
          properties: resource.Properties ?? {},
          resource,
        })),
    ),
  );
}

export function templateOf(environment: string, stack: string): Template {
  const found = environments().find((one) => one.environment === environment)?.templates[stack];
  if (found === undefined) throw new Error(`there is no ${stack} of ${environment}`);
  return found;
}

/** A list that may be one thing alone, as in policies. */
export const listOf = (value: unknown): readonly unknown[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as readonly unknown[]) : [value];

export interface Statement {
  readonly Effect: string;
  readonly Action: unknown;
  readonly Resource?: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** The statements of every policy of a role. */
export function roleStatements(): readonly (Statement & { readonly at: string })[] {
  const policies = resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy");
  return policies.flatMap(({ at, properties }) => {
    const { Statement } = properties["PolicyDocument"] as { readonly Statement: readonly Statement[] };
    return Statement.map((statement) => ({ at, ...statement }));
  });
}

export interface Container {
  readonly Name: string;
  readonly User?: string;
  readonly ReadonlyRootFilesystem?: boolean;
  readonly StopTimeout?: number;
  readonly Essential: boolean;
  readonly Environment?: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly Secrets?: readonly { readonly Name: string }[];
  readonly LinuxParameters?: { readonly Capabilities?: { readonly Drop?: readonly string[] } };
}

/** The containers of every task. */
export function containers(): readonly (Container & { readonly at: string })[] {
  const tasks = resources("AWS::ECS::TaskDefinition");
  return tasks.flatMap(({ at, properties }) =>
    (properties["ContainerDefinitions"] as readonly Container[]).map((container) => ({
      at: `${at}/${container.Name}`,
      ...container,
    })),
  );
}

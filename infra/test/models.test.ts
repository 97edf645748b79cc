/** Environments with models: workers have the catalogue as a file, and may call what it names, and nothing else. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseCatalogue } from "../../src/models/catalogue.ts";
import type { EnvironmentConfig } from "../lib/config.ts";
import { synthesiseAll } from "../synth.ts";
import type { Resource } from "../synth.ts";
import { configOf, environments, listOf } from "./infra-kit.ts";
import type { Container, Statement } from "./infra-kit.ts";

const development = configOf("development");

const APPLICATION = "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/a1b2";
/** The example of docs/models.md, and what else may stand there. */
const catalogue = (more: Readonly<Record<string, object>> = {}): Record<string, unknown> => {
  const docs = readFileSync(join(import.meta.dirname, "../../docs/models.md"), "utf8");
  const example = JSON.parse(/```json\n(.*?)\n```/s.exec(docs)?.[1] ?? "") as { readonly targets: object };
  return { ...example, targets: { ...example.targets, ...more } };
};
const target = (model: string, rest: object = {}) => ({ provider: "bedrock", model, contextTokens: 10_000, ...rest });

type Service = readonly (readonly [string, Resource])[];

async function serviceWith(models: Partial<EnvironmentConfig>): Promise<Service> {
  const [made] = await synthesiseAll([{ ...development, ...models }]);
  return Object.entries(made?.templates["service"]?.Resources ?? {});
}

const joined = (value: unknown): string =>
  JSON.stringify(value)
    .replace(/^{"Fn::Join":\["",\[(.*)\]\]}$/, "$1")
    .replace(/","|",{|},"/g, "")
    .replaceAll('"', "")
    .replace("Ref:AWS::AccountId", "ACCOUNT");

/** What policies allow at Bedrock: of which role, what, on what, by which profile. */
function allowed(service: Service): readonly string[] {
  return service.flatMap(([id, { Type, Properties }]) => {
    if (Type !== "AWS::IAM::Policy") return [];
    const { Statement = [] } = (Properties?.["PolicyDocument"] ?? {}) as { readonly Statement?: readonly Statement[] };
    return Statement.flatMap(({ Action, Resource: on, Condition }) => {
      const actions = listOf(Action)
        .map(String)
        .filter((action) => action.startsWith("bedrock:"));
      const by = Condition?.["StringEquals"]?.["bedrock:InferenceProfileArn"];
      const role = /^[A-Z][a-z]+Role/.exec(id)?.[0];
      return actions.flatMap((action) =>
        listOf(on).map((one) => `${role} ${action} ${joined(one)}${by === undefined ? "" : ` by ${joined(by)}`}`),
      );
    });
  });
}

function containersOf(service: Service, task: string): readonly (Container & Started)[] {
  const { Properties } =
    service.find(([id, { Type }]) => Type === "AWS::ECS::TaskDefinition" && id.startsWith(task))?.[1] ?? {};
  return (Properties?.["ContainerDefinitions"] ?? []) as readonly (Container & Started)[];
}

interface Started {
  readonly EntryPoint?: readonly string[];
  readonly DependsOn?: readonly object[];
  readonly MountPoints?: readonly object[];
}

const settingsOf = (containers: readonly Container[], pattern: RegExp): readonly unknown[] =>
  containers.flatMap(({ Environment = [] }) => Environment.filter(({ Name }) => pattern.test(Name)));

describe("an environment with a catalogue", { timeout: 60_000 }, () => {
  it("lets workers, and nobody else, call its models: by profiles wherever these send the call", async () => {
    const found = allowed(await serviceWith({ catalogue: catalogue({ plain: target("amazon.nova-lite-v1:0") }) }));
    const here = "arn:aws:bedrock:eu-central-1";
    const [sonnet, nova] = ["anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"];
    const both = (rest: string) =>
      ["InvokeModel", "InvokeModelWithResponseStream"].map((action) => `WorkerRole bedrock:${action} ${rest}`);
    expect(found.toSorted()).toEqual(
      [
        `WorkerRole bedrock:ApplyGuardrail ${here}:ACCOUNT:guardrail/gr-1`,
        ...both(`${here}::foundation-model/amazon.nova-lite-v1:0`),
        ...[sonnet, nova].flatMap((model) => [
          ...both(`${here}:ACCOUNT:inference-profile/eu.${model}`),
          ...both(`arn:aws:bedrock:*::foundation-model/${model} by ${here}:ACCOUNT:inference-profile/eu.${model}`),
        ]),
      ].toSorted(),
    );
  });

  it("takes regions and ARNs as they stand", async () => {
    const guardrail = { id: "arn:aws:bedrock:us-east-1:111122223333:guardrail/g", version: "1" };
    const models = {
      own: target(APPLICATION),
      far: target("amazon.nova-lite-v1:0", { region: "us-east-1", guardrail }),
      made: target("arn:aws:bedrock:eu-central-1:111122223333:provisioned-model/p"),
    };
    const config = { catalogue: { targets: models, models: { default: { targets: ["own", "far", "made"] } } } };
    const found = allowed(await serviceWith(config));
    expect(found.filter((one) => !one.includes("ResponseStream")).toSorted()).toEqual([
      `WorkerRole bedrock:ApplyGuardrail ${guardrail.id}`,
      `WorkerRole bedrock:InvokeModel arn:aws:bedrock:*::foundation-model/* by ${APPLICATION}`,
      `WorkerRole bedrock:InvokeModel ${APPLICATION}`,
      `WorkerRole bedrock:InvokeModel ${models.made.model}`,
      "WorkerRole bedrock:InvokeModel arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
    ]);
  });

  it("has it written before a worker starts, where the worker looks, as the service reads it", async () => {
    const said = catalogue();
    const service = await serviceWith({ catalogue: said });
    const worker = containersOf(service, "WorkerTask");
    const writer = worker.find(({ Name }) => Name === "catalogue");
    const holdpoint = worker.find(({ Name }) => Name === "holdpoint");
    expect(settingsOf(worker, /MODELS/)).toEqual([{ Name: "HOLDPOINT_MODELS", Value: "/run/holdpoint/models.json" }]);
    expect(holdpoint?.DependsOn).toContainEqual({ Condition: "SUCCESS", ContainerName: "catalogue" });
    for (const [container, ReadOnly] of [
      [writer, false],
      [holdpoint, true],
    ] as const)
      expect(container?.MountPoints).toContainEqual(
        expect.objectContaining({ ContainerPath: "/run/holdpoint", ReadOnly }),
      );
    const folder = mkdtempSync(join(tmpdir(), "holdpoint-catalogue-"));
    try {
      const [, ...args] = writer?.EntryPoint ?? [];
      const Value = writer?.Environment?.find(({ Name }) => Name === "CONTENT")?.Value;
      const env = { ...process.env, CONTENT: String(Value) };
      const ran = spawnSync(
        process.execPath,
        args.map((one) => one.replace("/run/holdpoint", folder)),
        { env },
      );
      expect([ran.status, ran.stderr.toString()]).toEqual([0, ""]);
      const written = readFileSync(join(folder, "models.json"), "utf8");
      expect(JSON.parse(written)).toEqual(said);
      expect(parseCatalogue(written).names).toEqual(["default", "support-chat", "tool-agent"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(containersOf(service, "ApiTask").map(({ Name }) => Name)).not.toContain("catalogue");
  });
});

describe("an environment with an embedder", { timeout: 60_000 }, () => {
  it("tells workers of it, and lets them call it", async () => {
    const service = await serviceWith({ embedder: "bedrock:amazon.titan-embed-text-v2:0@512" });
    expect(settingsOf(containersOf(service, "WorkerTask"), /EMBEDDER/)).toEqual([
      { Name: "HOLDPOINT_EMBEDDER", Value: "bedrock:amazon.titan-embed-text-v2:0@512" },
    ]);
    expect(settingsOf(containersOf(service, "ApiTask"), /EMBEDDER/)).toEqual([]);
    const model = "arn:aws:bedrock:eu-central-1::foundation-model/amazon.titan-embed-text-v2:0";
    expect(allowed(service)).toContain(`WorkerRole bedrock:InvokeModel ${model}`);
  });
});

describe("an environment without models", () => {
  it("lets nobody call any", () => {
    for (const { templates } of environments()) {
      const service = Object.entries(templates["service"]?.Resources ?? {});
      expect(allowed(service)).toEqual([]);
      expect(settingsOf(containersOf(service, "WorkerTask"), /MODELS|EMBEDDER/)).toEqual([]);
    }
  });
});

/** A network without a way out: what would ask somebody outside of it is left out. */
import { expect, it } from "vitest";
import { synthesiseAll } from "../synth.ts";
import { configOf, containers } from "./infra-kit.ts";
import type { Container } from "./infra-kit.ts";

const isolated = {
  ...configOf("development"),
  natGateways: 0,
  collectorImage: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/collector:v0.43.3",
};

const signatures = (all: readonly Container[]): readonly unknown[] =>
  all
    .filter(({ Name }) => Name === "holdpoint")
    .map(({ Environment = [] }) => Environment.find(({ Name }) => Name === "HOLDPOINT_SNS_SIGNATURES")?.Value);

async function isolatedWith(settings: Readonly<Record<string, string>>): Promise<readonly unknown[]> {
  const [made] = await synthesiseAll([{ ...isolated, settings }]);
  const tasks = Object.values(made?.templates["service"]?.Resources ?? {}).filter(
    ({ Type }) => Type === "AWS::ECS::TaskDefinition",
  );
  return signatures(tasks.flatMap(({ Properties }) => Properties?.["ContainerDefinitions"] as readonly Container[]));
}

it(
  "tasks fetch no certificate of Amazon SNS, unless their environment says otherwise",
  { timeout: 60_000 },
  async () => {
    expect(await isolatedWith({})).toEqual(["ignored", "ignored"]);
    expect(await isolatedWith({ HOLDPOINT_SNS_SIGNATURES: "required" })).toEqual(["required", "required"]);
  },
);

it("tasks with a way out do", () => {
  expect(signatures(containers())).toEqual([undefined, undefined, undefined, undefined]);
});

/** Models of Amazon Bedrock: the catalogue that workers are given, and what they may call because of it. */
import type { Stack } from "aws-cdk-lib";
import { dialectOf } from "../../src/aws/bedrock-embeddings.ts";
import { embedderOf } from "../../src/config.ts";
import { isHoldpointError } from "../../src/core/errors.ts";
import { parseCatalogue } from "../../src/models/catalogue.ts";
import type { BedrockTarget } from "../../src/models/catalogue.ts";
import type { EnvironmentConfig } from "./config.ts";

type Named = Pick<EnvironmentConfig, "region" | "catalogue" | "embedder">;

/** Actions on resources, under a condition where there is one. */
export interface Grant {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

const INVOKE = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"] as const;
/** A task definition may have 64 KB in all. */
const LONGEST_CATALOGUE = 16_384;
/** Nothing in it that a policy would read as a pattern. */
const LITERAL = /^[\w.:/-]+$/;
/** With which the ids of profiles begin that serve one model from several regions. */
const GEOGRAPHY = /^(us|us-gov|eu|apac|jp|au|ca|global)\./;
const PROFILE_ARN = /^arn:[^:]+:bedrock:[^:]*:\d{12}:(application-)?inference-profile\/(?<id>.+)$/;

/** The file that workers read, as it is written. */
export const catalogueText = (catalogue: Readonly<Record<string, unknown>>): string => JSON.stringify(catalogue);

function targetsOf({ catalogue }: Pick<Named, "catalogue">): readonly BedrockTarget[] {
  if (catalogue === undefined) return [];
  return parseCatalogue(catalogueText(catalogue)).targets.filter((target) => target.provider === "bedrock");
}

/** Why the service would not take this catalogue, or its tasks could not use it; undefined when all is well. */
export function catalogueProblem(config: Named & Pick<EnvironmentConfig, "natGateways">): string | undefined {
  if (config.catalogue === undefined) return undefined;
  if (catalogueText(config.catalogue).length > LONGEST_CATALOGUE) return `longer than ${LONGEST_CATALOGUE} characters`;
  return refusalOf(() => {
    for (const { name, model, region = config.region, guardrail } of targetsOf(config)) {
      if (!LITERAL.test(model)) return `targets.${name}.model: an id or an ARN is expected`;
      if (guardrail && !LITERAL.test(guardrail.id)) return `targets.${name}.guardrail.id: an id or an ARN is expected`;
      if (config.natGateways === 0 && region !== config.region)
        return `targets.${name}.region: without a NAT gateway only ${config.region} can be reached`;
    }
    return undefined;
  });
}

/** Why the service would not take this embedder; undefined when all is well. */
export function embedderProblem(text: string): string | undefined {
  const embedder = embedderOf(text);
  if (embedder === undefined) return "bedrock:<model id>, with @<dimensions> where it has several";
  if (!LITERAL.test(embedder.model)) return "the id of a model is expected";
  return refusalOf(() => void dialectOf(embedder.model, embedder.dimensions));
}

/** What is found, or what the service refuses of it. */
function refusalOf(find: () => string | undefined): string | undefined {
  try {
    return find();
  } catch (error) {
    if (isHoldpointError(error)) return error.message;
    throw error;
  }
}

/** `*` as the model or the region stands for every one. */
const foundation = (stack: Stack, model: string, region: string): string =>
  stack.formatArn({ service: "bedrock", region, account: "", resource: "foundation-model", resourceName: model });

interface Model {
  readonly model: string;
  readonly region: string;
}

/** Who calls a profile needs the profile, and the model wherever the profile may send the call. */
function invoking(stack: Stack, { model, region }: Model): readonly Grant[] {
  const arn = PROFILE_ARN.exec(model);
  const id = arn?.groups?.["id"] ?? model;
  if (arn === null && !GEOGRAPHY.test(id)) {
    return [{ actions: INVOKE, resources: [model.startsWith("arn:") ? model : foundation(stack, model, region)] }];
  }
  const profile =
    arn?.[0] ?? stack.formatArn({ service: "bedrock", region, resource: "inference-profile", resourceName: id });
  // What a profile of the account's own stands for is not in its name.
  const behind = GEOGRAPHY.test(id) ? id.replace(GEOGRAPHY, "") : "*";
  return [
    { actions: INVOKE, resources: [profile] },
    {
      actions: INVOKE,
      resources: [foundation(stack, behind, "*")],
      conditions: { StringEquals: { "bedrock:InferenceProfileArn": profile } },
    },
  ];
}

/** What workers do at Bedrock: call the models of the catalogue, its guardrails, and the embedder. */
export function bedrockGrants(stack: Stack, config: Named): readonly Grant[] {
  const { region: here } = config;
  const targets = targetsOf(config);
  const embedder = embedderOf(config.embedder);
  const models: readonly Model[] = [
    ...targets.map(({ model, region = here }) => ({ model, region })),
    ...(embedder === undefined ? [] : [{ model: embedder.model, region: here }]),
  ];
  const guardrails = targets.flatMap(({ guardrail, region = here }) => {
    if (guardrail === undefined) return [];
    const { id } = guardrail;
    const named = { service: "bedrock", region, resource: "guardrail", resourceName: id };
    return [{ actions: ["bedrock:ApplyGuardrail"], resources: [id.startsWith("arn:") ? id : stack.formatArn(named)] }];
  });
  return [...models.flatMap((model) => invoking(stack, model)), ...guardrails];
}

/** The product's whole model layer before a fake of Bedrock, with short times. */
import { systemClock } from "../../src/core/clock.ts";
import { createBedrockChat, createBedrockClient } from "../../src/aws/bedrock-chat.ts";
import type { BedrockOptions } from "../../src/aws/bedrock-chat.ts";
import { createOfflineChat } from "../../src/local/offline-chat.ts";
import { createOfflineModel } from "../../src/local/offline-model.ts";
import { parseCatalogue } from "../../src/models/catalogue.ts";
import { RoutedChatModel } from "../../src/models/chat-model.ts";
import { createGroundedModel } from "../../src/models/grounded.ts";
import { createPolicies } from "../../src/models/policies.ts";
import type { PolicyOptions } from "../../src/models/policies.ts";
import { createRouter } from "../../src/models/router.ts";
import type { ModelCall } from "../../src/models/router.ts";
import type { FakeBedrock } from "./fake-bedrock.ts";

export const target = (model: string, more: object = {}): object => ({
  provider: "bedrock",
  model,
  region: "us-east-1",
  contextTokens: 10_000,
  maxOutputTokens: 1_000,
  ...more,
});

export const CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0";
export const NOVA = "amazon.nova-pro-v1:0";

/** `agent` is served by `first`, else by `second`. */
export const TWO = {
  targets: { first: target(CLAUDE), second: target(NOVA) },
  models: { agent: { targets: ["first", "second"] }, alone: { targets: ["first"] } },
  limits: { attempts: 3, silenceMs: 500, answerMs: 500, deadlineMs: 5_000 },
};

export interface RoutedOptions {
  readonly catalogue?: object;
  readonly policies?: Partial<PolicyOptions>;
  readonly client?: Partial<BedrockOptions>;
  readonly tenant?: string;
}

export function routed(bedrock: FakeBedrock, options: RoutedOptions = {}) {
  const catalogue = parseCatalogue(JSON.stringify(options.catalogue ?? TWO));
  const calls: ModelCall[] = [];
  const breaker: string[] = [];
  const region = bedrock.region;
  const client = createBedrockClient({
    endpoint: bedrock.endpoint,
    region,
    requestTimeoutMs: catalogue.limits.answerMs,
    ...options.client,
  });
  const router = createRouter({
    catalogue,
    clock: systemClock,
    policies: createPolicies({
      ...catalogue.limits,
      backoffMs: 1,
      onBreaker: (_place, state) => breaker.push(state),
      ...options.policies,
    }),
    open: async (one) =>
      one.provider === "bedrock" ? createBedrockChat(one, client, region) : createOfflineChat(createOfflineModel()),
    record: (call) => calls.push(call),
  });
  const tenant = options.tenant ?? "acme";
  return {
    calls,
    breaker,
    router,
    chat: (name = "agent") => new RoutedChatModel({ router, tenant, name }),
    model: (name = "agent") => createGroundedModel({ router, tenant, name }),
    [Symbol.dispose]: () => client.destroy(),
  };
}

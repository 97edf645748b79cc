/** The part of the composition root that opens models. What serves a target is loaded when it is first asked for. */
import { readFile } from "node:fs/promises";
import type { BedrockRuntimeClient } from "@aws-sdk/client-bedrock-runtime";
import type { Config } from "./config.ts";
import { systemClock } from "./core/clock.ts";
import { HoldpointError, errorInfo, namingSetting } from "./core/errors.ts";
import type { Services } from "./graph/services.ts";
import type { BedrockTarget, Catalogue, Target } from "./models/catalogue.ts";
import type { ChatClient } from "./models/chat.ts";
import type { Log } from "./runtime/deps.ts";

/** What the graphs of one tenant reach of models. */
export type ModelServices = Pick<Services, "models" | "chat">;

/** Opens the models of the configuration: those of its catalogue, or the offline one. @throws HoldpointError, one line */
export async function openModels(config: Config, log: Log): Promise<(tenant: string) => ModelServices> {
  return config.modelsFile === undefined ? openOffline() : openCatalogue(config, config.modelsFile, log);
}

async function openOffline(): Promise<(tenant: string) => ModelServices> {
  const { createOfflineModel } = await import("./local/offline-model.ts");
  const model = createOfflineModel();
  return () => ({ models: () => model, chat: (name, offline) => offline ?? missing(name) });
}

function missing(name: string): never {
  throw new HoldpointError("not_found", `no catalogue has a chat model called ${name}: see HOLDPOINT_MODELS`);
}

const DEFAULT_NAME = "default";

async function openCatalogue(config: Config, path: string, log: Log): Promise<(tenant: string) => ModelServices> {
  const [{ parseCatalogue }, { createPolicies }, { createRouter }, { createGroundedModel }, { RoutedChatModel }] =
    await Promise.all([
      import("./models/catalogue.ts"),
      import("./models/policies.ts"),
      import("./models/router.ts"),
      import("./models/grounded.ts"),
      import("./models/chat-model.ts"),
    ]);
  const text = await textOf(path);
  const catalogue = await namingSetting("HOLDPOINT_MODELS", () => parseCatalogue(text));
  const router = createRouter({
    catalogue,
    clock: systemClock,
    policies: createPolicies({
      ...catalogue.limits,
      onBreaker: (place, state, reason) => log.warn({ place, state, reason }, "a model's breaker has changed"),
    }),
    open: opener(config, catalogue),
    record: (call) => log.info({ ...call }, "model called"),
  });
  const offline = await openOffline();
  return (tenant) => ({
    models(name = DEFAULT_NAME) {
      if (name === DEFAULT_NAME && !router.has(name)) return offline(tenant).models();
      return createGroundedModel({ router, tenant, name });
    },
    chat: (name, own) => (router.has(name) ? new RoutedChatModel({ router, tenant, name }) : (own ?? missing(name))),
  });
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new HoldpointError("invalid", `HOLDPOINT_MODELS: ${errorInfo(cause).message}`, { cause });
  }
}

/** Opens clients: one of the SDK for each region, however many targets it serves. */
function opener({ bedrock }: Config, { targets, limits }: Catalogue): (target: Target) => Promise<ChatClient> {
  const regionOf = ({ name, region = bedrock.region }: BedrockTarget): string => {
    if (region !== undefined) return region;
    throw new HoldpointError("invalid", `the model catalogue, at targets.${name}.region: set it, or AWS_REGION`);
  };
  // Said at the start, and not by the first run that needs it.
  for (const target of targets) if (target.provider === "bedrock") regionOf(target);
  const clients = new Map<string, BedrockRuntimeClient>();
  return async (target) => {
    if (target.provider === "offline") {
      const [{ createOfflineModel }, { createOfflineChat }] = await Promise.all([
        import("./local/offline-model.ts"),
        import("./local/offline-chat.ts"),
      ]);
      return createOfflineChat(createOfflineModel());
    }
    const { createBedrockClient, createBedrockChat } = await import("./aws/bedrock-chat.ts");
    const region = regionOf(target);
    const { endpoint } = bedrock;
    const client = clients.get(region) ?? createBedrockClient({ endpoint, region, requestTimeoutMs: limits.answerMs });
    clients.set(region, client);
    return createBedrockChat(target, client, region);
  };
}

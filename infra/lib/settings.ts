/** The further settings of an environment: those that the service knows, and that are said nowhere else. */
import { z } from "zod";
import { environment } from "../../src/settings.ts";

const BY_STACKS = "the stacks say it";
const AMAZON = "tasks reach Amazon's own";
const SECRET = "a secret, which settings are not: whoever may read the templates may read them";
const MODELS = "say `catalogue` or `embedder`: what workers may call follows from these";
const OPEN_SEARCH = "say `openSearch`: what workers may reach follows from it";

/** Settings that an environment may not have in `settings`, and why. */
export const REFUSED: Readonly<Record<string, string>> = {
  HOLDPOINT_ROLE: BY_STACKS,
  HOLDPOINT_HOST: BY_STACKS,
  HOLDPOINT_PORT: BY_STACKS,
  HOLDPOINT_DATA_DIR: BY_STACKS,
  HOLDPOINT_KEYS: BY_STACKS,
  HOLDPOINT_TABLE: BY_STACKS,
  HOLDPOINT_BUCKET: BY_STACKS,
  HOLDPOINT_KMS_KEY_ID: BY_STACKS,
  HOLDPOINT_ENCRYPTION_REQUIRED: BY_STACKS,
  HOLDPOINT_SHARDS: "say `shards`",
  HOLDPOINT_CONCURRENCY: "say `worker.concurrency`",
  HOLDPOINT_MODELS: MODELS,
  HOLDPOINT_EMBEDDER: MODELS,
  HOLDPOINT_OPENSEARCH_URL: OPEN_SEARCH,
  HOLDPOINT_OPENSEARCH_INDEX: OPEN_SEARCH,
  HOLDPOINT_OPENSEARCH_SERVICE: OPEN_SEARCH,
  HOLDPOINT_BUCKET_KMS_KEY_ID: "the bucket's default encryption names the key, and tasks may use no other",
  HOLDPOINT_CALLBACK_KEYS: SECRET,
  HOLDPOINT_ENCRYPTION_KEYS: SECRET,
  LANGGRAPH_AES_KEY: SECRET,
  DYNAMODB_ENDPOINT: AMAZON,
  S3_ENDPOINT: AMAZON,
  KMS_ENDPOINT: AMAZON,
  BEDROCK_ENDPOINT: AMAZON,
  AWS_REGION: "set by AWS Fargate",
  ECS_AGENT_URI: "set by Amazon ECS",
};

const shape: Readonly<Record<string, z.ZodType>> = environment.shape;

/** Why no task may be told this; undefined when the service takes it. */
function problemOf(name: string, value: string): string | undefined {
  if (!Object.hasOwn(shape, name)) return "docs/configuration.md has no setting of this name";
  return Object.hasOwn(REFUSED, name) ? REFUSED[name] : shape[name]?.safeParse(value).error?.issues[0]?.message;
}

/** `settings` of an environment: values by the names of docs/configuration.md, each as the service would take it. */
export const furtherSettings = z.record(z.string(), z.string()).superRefine((settings, context) => {
  for (const [name, value] of Object.entries(settings)) {
    const message = problemOf(name, value);
    if (message !== undefined) context.addIssue({ code: "custom", path: [name], message });
  }
});

/** The catalogue: which targets serve the names that graphs ask for, for whom, within what limits, at what price. */
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";

const name = z.string().regex(/^[\w.-]{1,64}$/, "a name of letters, digits, `.`, `_` and `-` is expected");
const perMillion = z.number().min(0);
const ms = z.number().int().min(1).max(3_600_000);

const price = z.strictObject({
  from: z.iso.date({ error: "a price needs the day from which it holds, as YYYY-MM-DD" }),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/)
    .default("USD"),
  /** Of a million tokens. Without a price of their own, tokens read from or written to a cache cost what input costs. */
  perMillion: z.strictObject({
    input: perMillion,
    output: perMillion,
    cacheRead: perMillion.optional(),
    cacheWrite: perMillion.optional(),
  }),
});

const bedrock = z.strictObject({
  provider: z.literal("bedrock"),
  /** Id or ARN of a model or an inference profile. */
  model: z.string().min(1),
  region: z
    .string()
    .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "a region such as eu-central-1 is expected")
    .optional(),
  contextTokens: z.number().int().min(1),
  maxOutputTokens: z.number().int().min(1).default(4096),
  temperature: z.number().min(0).max(1).optional(),
  tools: z.boolean().default(true),
  vision: z.boolean().default(false),
  guardrail: z
    .strictObject({ id: z.string().min(1), version: z.string().min(1), trace: z.boolean().default(false) })
    .optional(),
  /** Passed on as `additionalModelRequestFields`. */
  extra: z.record(z.string(), z.unknown()).optional(),
  prices: z.array(price).default([]),
});

const offline = z.strictObject({ provider: z.literal("offline") });

const limits = z.strictObject({
  /** Attempts at one target. */
  attempts: z.number().int().min(1).max(10).default(3),
  /** Milliseconds without a sign of life after which an attempt of a streamed answer is given up. */
  silenceMs: ms.default(60_000),
  /** Milliseconds that one attempt may take whose answer is not streamed: it gives no sign of life before it is whole. */
  answerMs: ms.default(240_000),
  /** Milliseconds that a call may take, with all of its attempts and targets. */
  deadlineMs: ms.default(300_000),
  /** Calls of one tenant at once, in each process; as many again may wait. */
  tenantConcurrency: z.number().int().min(1).max(10_000).default(32),
});

const schema = z.strictObject({
  targets: z.record(name, z.discriminatedUnion("provider", [bedrock, offline])),
  models: z.record(
    name,
    z.strictObject({
      /** Names of targets, or of other models of this file, in the order in which they are tried. */
      targets: z.array(name).min(1, "at least one target is expected"),
      /** In place of these, for one tenant. */
      tenants: z.record(z.string().min(1), z.array(name).min(1, "at least one target is expected")).default({}),
    }),
  ),
  limits: limits.prefault({}),
});

type Parsed = z.output<typeof schema>;
export type Price = z.output<typeof price>;
export type BedrockTarget = z.output<typeof bedrock> & { readonly name: string };
export type Target = BedrockTarget | (z.output<typeof offline> & { readonly name: string });
export type ModelLimits = z.output<typeof limits>;

export interface Catalogue {
  readonly limits: ModelLimits;
  readonly names: readonly string[];
  readonly targets: readonly Target[];
  /** In the order in which they are tried; undefined for a name that is not in the catalogue. */
  targetsOf(name: string, tenant: string): readonly Target[] | undefined;
}

/** The catalogue of a JSON text. @throws HoldpointError `invalid`, naming the place in it */
export function parseCatalogue(text: string): Catalogue {
  const parsed = schema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [first] = parsed.error.issues;
    throw refused(placeOf(first?.path ?? []), first?.message ?? "not understood");
  }
  return resolved(parsed.data);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HoldpointError("invalid", `the model catalogue is not JSON: ${String(cause)}`, { cause });
  }
}

const refused = (place: string, message: string): HoldpointError =>
  new HoldpointError("invalid", `the model catalogue, at ${place}: ${message}`);

const placeOf = (path: readonly PropertyKey[]): string =>
  path.map((key, at) => (typeof key === "number" ? `[${key}]` : `${at === 0 ? "" : "."}${String(key)}`)).join("") ||
  "its top";

/** What no schema of a single word can say. */
function checkTargets(targets: Parsed["targets"]): void {
  for (const [own, target] of Object.entries(targets)) {
    if (target.provider !== "bedrock") continue;
    const { contextTokens, maxOutputTokens, prices } = target;
    if (maxOutputTokens >= contextTokens)
      throw refused(
        `targets.${own}.maxOutputTokens`,
        `${maxOutputTokens} leaves no room for a prompt in ${contextTokens} tokens`,
      );
    for (const [at, { from }] of prices.entries())
      if (prices.findIndex((one) => one.from === from) < at)
        throw refused(`targets.${own}.prices[${at}].from`, `there is another price from ${from} on`);
  }
}

/** A call may be answered by several targets; what it costs is one sum. */
function checkCurrency(targets: Parsed["targets"]): void {
  let known: string | undefined;
  for (const [own, target] of Object.entries(targets)) {
    for (const [at, { currency }] of ("prices" in target ? target.prices : []).entries()) {
      known ??= currency;
      if (currency !== known)
        throw refused(`targets.${own}.prices[${at}].currency`, `${currency}, where other prices are in ${known}`);
    }
  }
}

interface Names {
  readonly targets: ReadonlyMap<string, Target>;
  readonly models: Parsed["models"];
}

/** What serves the names of a file for one tenant. Each is followed once, however often it stands in a list. */
function resolver({ targets, models }: Names, tenant: string | undefined): (model: string) => readonly Target[] {
  const done = new Map<string, readonly Target[]>();
  const follow = (model: string, above: readonly string[]): readonly Target[] => {
    const known = done.get(model);
    if (known) return known;
    const [place, names] = listOf(models, model, tenant);
    const path = [...above, model];
    const found = names.flatMap((one, at) => {
      const target = targets.get(one);
      if (target) return [target];
      const here = `${place}[${at}]`;
      if (!Object.hasOwn(models, one)) throw refused(here, `there is no target and no model called ${one}`);
      if (path.includes(one)) throw refused(here, `a cycle: ${[...path, one].join(" → ")}`);
      return follow(one, path);
    });
    const unique = [...new Set(found)];
    done.set(model, unique);
    return unique;
  };
  return (model) => follow(model, []);
}

/** What a model lists for a tenant, and where that stands. */
function listOf(
  models: Parsed["models"],
  model: string,
  tenant: string | undefined,
): readonly [string, readonly string[]] {
  const { targets = [], tenants = {} } = models[model] ?? {};
  const own = tenant !== undefined && Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined;
  return own ? [`models.${model}.tenants.${tenant}`, own] : [`models.${model}.targets`, targets];
}

/** Follows every name for everybody, so that nothing can be wrong later. */
function resolved({ targets, models, limits: bounds }: Parsed): Catalogue {
  checkTargets(targets);
  checkCurrency(targets);
  const named = new Map(
    Object.entries(targets).map(([own, target]): [string, Target] => [own, { ...target, name: own }]),
  );
  const tenants = new Set(Object.values(models).flatMap((model) => Object.keys(model.tenants)));
  const resolvers = [undefined, ...tenants].map(
    (tenant) => [tenant, resolver({ targets: named, models }, tenant)] as const,
  );
  const lists = new Map<string, ReadonlyMap<string | undefined, readonly Target[]>>();
  for (const model of Object.keys(models)) {
    if (named.has(model)) throw refused(`models.${model}`, "a target has this name as well");
    lists.set(model, new Map(resolvers.map(([tenant, serving]) => [tenant, serving(model)])));
  }
  return {
    limits: bounds,
    names: [...lists.keys()],
    targets: [...named.values()],
    targetsOf: (model, tenant) => lists.get(model)?.get(tenant) ?? lists.get(model)?.get(undefined),
  };
}

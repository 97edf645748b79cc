/** What may differ between two environments: everything that a file of `environments/` says. */
import { RegionInfo } from "aws-cdk-lib/region-info";
import { z } from "zod";
import { amazonEndpoint } from "../../src/aws/opensearch-endpoint.ts";
import { catalogueProblem, embedderProblem } from "./models.ts";
import { furtherSettings } from "./settings.ts";

const cores = z.union([z.literal(256), z.literal(512), z.literal(1024), z.literal(2048), z.literal(4096)]);
const GIB = 1024;
/** Memory that Fargate gives for so many units of CPU, in MiB: from, to. */
const MEMORY: Readonly<Record<z.output<typeof cores>, readonly [number, number]>> = {
  256: [512, 2 * GIB],
  512: [GIB, 4 * GIB],
  1024: [2 * GIB, 8 * GIB],
  2048: [4 * GIB, 16 * GIB],
  4096: [8 * GIB, 30 * GIB],
};

const fleet = {
  cpu: cores,
  memoryMiB: z.int().min(512).multipleOf(512),
  minTasks: z.int().min(1).max(100),
  maxTasks: z.int().min(1).max(1000),
};

const isPublic = (image: string): boolean => !/^\d{12}\.dkr\.ecr\./.test(image);

/** The schema of one environment. Every name is spelled out, and a name that is not known is refused. */
export const environmentConfig = z
  .strictObject({
    /** Part of the names of stacks, and of nothing that moves between accounts. */
    name: z.string().regex(/^[a-z][a-z0-9-]{1,15}$/, "lower-case letters, digits and hyphens, 2 to 16 of them"),
    region: z.enum(
      RegionInfo.regions.map(({ name }) => name),
      "a region such as eu-central-1",
    ),
    /** Letters of the region's zones, such as ["a", "b"]. */
    zones: z
      .array(z.string().regex(/^[a-f]$/))
      .min(2)
      .max(3),
    /** Deletion protection, data that outlives its stack, and audit records that nobody can remove. */
    isProtected: z.boolean(),
    /** Of the image in the repository that the data stack makes; a digest in production. */
    imageTag: z.string().min(1),
    /** Of AWS Certificate Manager, in the same region. */
    certificateArn: z.string().regex(/^arn:aws[\w-]*:acm:[\w-]+:\d{12}:certificate\/[\w-]+$/),
    allowedCidrs: z.array(z.cidrv4()).min(1),
    /** 0: nothing leaves the network but through endpoints of AWS, and so no webhook and no model elsewhere. */
    natGateways: z.int().min(0).max(3),
    api: z.strictObject({ ...fleet, streamsPerTask: z.int().min(1).max(10_000) }),
    worker: z.strictObject({
      ...fleet,
      /** Runs that one task executes at once. */
      concurrency: z.int().min(1).max(1000),
      /** Threads that may wait for each task before there are more of them. */
      backlogPerTask: z.number().positive(),
      /** Of ten tasks beyond the first two, how many run on spare capacity that may be taken away. */
      spotOfTen: z.int().min(0).max(10),
    }),
    /** Fixed once the table has been used. */
    shards: z.int().min(1).max(256),
    /** Further settings of docs/configuration.md, for both roles. */
    settings: furtherSettings,
    /** The model catalogue of docs/models.md, as its file would have it: workers are given it, and may call its models. */
    catalogue: z.record(z.string(), z.unknown()).optional(),
    /** HOLDPOINT_EMBEDDER, which workers may then call. */
    embedder: z
      .string()
      .superRefine((text, context) => {
        const problem = embedderProblem(text);
        if (problem !== undefined) context.addIssue(problem);
      })
      .optional(),
    /** Where documents are kept and searched, when not on each worker's own disk: a domain or a collection that is there. */
    openSearch: z
      .strictObject({
        url: z.url({ protocol: /^https$/, error: "an https URL is expected" }),
        arn: z
          .string()
          .regex(
            /^arn:aws[\w-]*:(es:[\w-]+:\d{12}:domain\/[\w-]+|aoss:[\w-]+:\d{12}:collection\/\w+)$/,
            "the ARN of a domain of Amazon OpenSearch Service or of a collection of its Serverless",
          ),
        index: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, "lower-case letters, digits, - and _"),
      })
      .optional(),
    /** A user pool, for people who sign in. */
    hasUserPool: z.boolean(),
    auditYears: z.int().min(1).max(30),
    logDays: z.union([z.literal(7), z.literal(30), z.literal(90), z.literal(365), z.literal(3653)]),
    collectorImage: z.string().min(1),
    /** Who is told by alarms; undefined: nobody yet. */
    alarmEmail: z.email().optional(),
    alarms: z.strictObject({
      backlogAgeSeconds: z.int().min(1),
      reviewsPastDue: z.int().min(1),
      failedPercent: z.number().min(0.1).max(100),
      modelCostPerHourUsd: z.number().positive(),
    }),
  })
  .superRefine((config, context) => {
    const refuse = (path: readonly string[], message: string): void =>
      context.addIssue({ code: "custom", path: [...path], message });
    for (const role of ["api", "worker"] as const) {
      const { cpu, memoryMiB, minTasks, maxTasks } = config[role];
      const [least, most] = MEMORY[cpu];
      if (memoryMiB < least || memoryMiB > most)
        refuse([role, "memoryMiB"], `Fargate gives ${least} to ${most} MiB with ${cpu} units of CPU`);
      if (minTasks > maxTasks) refuse([role, "minTasks"], "more than maxTasks");
      if (config.isProtected && minTasks < 2) refuse([role, "minTasks"], "two at least where data is protected");
    }
    if (config.natGateways > config.zones.length) refuse(["natGateways"], "more than zones");
    if (config.natGateways === 0 && isPublic(config.collectorImage))
      refuse(["collectorImage"], "without a NAT gateway images come from a repository of Amazon ECR");
    if (config.certificateArn.split(":")[3] !== config.region) refuse(["certificateArn"], "of another region");
    if (config.openSearch !== undefined) {
      const [, , service, region] = config.openSearch.arn.split(":");
      const named = amazonEndpoint(config.openSearch.url);
      if (named !== undefined && (named.service !== service || named.region !== region))
        refuse(["openSearch", "arn"], `${service} in ${region}, and the URL is of ${named.service} in ${named.region}`);
    }
    const problem = catalogueProblem(config);
    if (problem !== undefined) refuse(["catalogue"], problem);
    if (new Set(config.zones).size !== config.zones.length) refuse(["zones"], "one is named twice");
    if (config.isProtected && !config.imageTag.startsWith("sha256:"))
      refuse(["imageTag"], "a digest (sha256:…) where data is protected: tags move");
  });

export type EnvironmentConfig = z.output<typeof environmentConfig>;

/** Dashboards, alarms and scaling look at what is emitted, and alarms lead to a runbook that exists. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { METRICS, RUN_OUTCOMES } from "../../src/telemetry/metric-names.ts";
import { collectorConfig } from "../lib/collector.ts";
import { environments, listOf, resources } from "./infra-kit.ts";

const PROJECT = join(import.meta.dirname, "../..");
const OUR_NAMES: ReadonlyMap<string, readonly string[]> = new Map(
  Object.values(METRICS).map(({ name, dimensions }) => [name, dimensions]),
);
/** What AWS itself counts for what the stacks are made of. */
const NAMESPACES_OF_AWS = ["AWS/ApplicationELB", "AWS/DynamoDB", "AWS/ECS", "ECS/ContainerInsights"];

interface Asked {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: readonly Dimension[];
  /** Undefined where it is the average. */
  readonly statistic?: unknown;
}

type Dimension = readonly [name: string, value: unknown];

/** Every metric that a resource asks for, wherever it says so. */
function asked(value: unknown): readonly Asked[] {
  if (Array.isArray(value)) return (value as readonly unknown[]).flatMap(asked);
  if (typeof value !== "object" || value === null) return [];
  const fields = value as Readonly<Record<string, unknown>>;
  const { MetricName: name, Namespace: namespace, Dimensions: dimensions = [] } = fields;
  const statistic = fields["Statistic"] ?? fields["ExtendedStatistic"];
  const here =
    typeof name === "string" && typeof namespace === "string"
      ? [
          {
            name,
            namespace,
            dimensions: (dimensions as readonly DimensionProperty[]).map(({ Name, Value }): Dimension => [Name, Value]),
            statistic,
          },
        ]
      : [];
  // Where there are several, the statistic stands beside the metric.
  if (typeof fields["Metric"] === "object")
    return asked(fields["Metric"]).map((one) => ({ ...one, statistic: fields["Stat"] }));
  return [...here, ...Object.values(fields).flatMap(asked)];
}

interface DimensionProperty {
  readonly Name: string;
  readonly Value: unknown;
}

/** A dashboard is a text of JSON with references in it. */
function askedByDashboard(body: unknown): readonly Asked[] {
  const parts = (body as { readonly "Fn::Join"?: readonly [string, readonly unknown[]] })["Fn::Join"]?.[1] ?? [body];
  const text = parts.map((part) => (typeof part === "string" ? part : "reference")).join("");
  const { widgets } = JSON.parse(text) as {
    readonly widgets: readonly { readonly properties: { readonly metrics?: readonly (readonly unknown[])[] } }[];
  };
  return widgets.flatMap(({ properties }) =>
    (properties.metrics ?? []).flatMap((metric) => {
      const texts = metric.filter((one): one is string => typeof one === "string");
      const [namespace, name, ...dimensions] = texts;
      return namespace === undefined || name === undefined
        ? []
        : [{ namespace, name, dimensions: pairs(dimensions), statistic: statisticOf(metric) }];
    }),
  );
}

/** The options of a metric of a dashboard come last. */
const statisticOf = (metric: readonly unknown[]): unknown => (metric.at(-1) as { readonly stat?: unknown }).stat;

const pairs = (texts: readonly string[]): readonly Dimension[] =>
  texts.flatMap((text, n): readonly Dimension[] => (n % 2 === 0 ? [[text, texts[n + 1]]] : []));

function everythingAsked(): readonly Asked[] {
  const watching = resources("AWS::CloudWatch::Alarm", "AWS::ApplicationAutoScaling::ScalingPolicy");
  const dashboards = resources("AWS::CloudWatch::Dashboard");
  return [
    ...asked(watching.map(({ properties }) => properties)),
    ...dashboards.flatMap(({ properties }) => askedByDashboard(properties["DashboardBody"])),
  ];
}

const outcomes: readonly unknown[] = RUN_OUTCOMES;
const isTold = ([name, value]: Dimension, names: readonly string[]): boolean =>
  names.includes(name) && (name !== "outcome" || outcomes.includes(value));

const unknown = (metrics: readonly Asked[]): readonly Asked[] =>
  metrics.filter(({ namespace, name, dimensions }) => {
    if (!namespace.startsWith("Holdpoint/")) return !NAMESPACES_OF_AWS.includes(namespace);
    const allowed = OUR_NAMES.get(name);
    return allowed === undefined || dimensions.some((one) => !isTold(one, allowed));
  });

describe("what is looked at", () => {
  it("is emitted by the service, or counted by AWS", () => {
    const all = everythingAsked();
    expect(unknown(all)).toEqual([]);
    const ours = new Set(all.filter(({ namespace }) => namespace.startsWith("Holdpoint/")).map(({ name }) => name));
    expect([...ours].toSorted()).toEqual([...OUR_NAMES.keys()].toSorted());
  });

  it("would not be passed with a name or a dimension that nobody emits (negative control)", () => {
    const right = {
      namespace: "Holdpoint/production",
      name: METRICS.runsEnded.name,
      dimensions: [["outcome", "parked"]],
    } as const;
    const wrong: readonly Asked[] = [
      { ...right, name: "holdpoint.gone" },
      { ...right, dimensions: [["tenant", "acme"]] },
      { ...right, dimensions: [["outcome", "lost"]] },
      { ...right, namespace: "AWS/Lambda" },
    ];
    expect(unknown([right, ...wrong])).toEqual(wrong);
  });

  it("is asked for no percentile of ours: CloudWatch has least, most, sum and count of them", () => {
    const statistics = everythingAsked().map(({ namespace, statistic }) => [namespace.split("/")[0], statistic]);
    const percentiles = statistics.filter(([, statistic]) => /^p\d/.test(String(statistic)));
    // The load balancer's own are real ones: they show that this would see any.
    expect(percentiles).toEqual([
      ["AWS", "p95"],
      ["AWS", "p95"],
    ]);
  });

  it("has no tenant and no thread as a dimension", () => {
    const dimensions = Object.values(METRICS).flatMap(({ dimensions: some }): readonly string[] => some);
    expect(dimensions.filter((name) => /tenant|thread|run_id/.test(name))).toEqual([]);
  });
});

describe("the collector", () => {
  it("passes on every metric, under its own dimensions and under none", () => {
    const { exporters } = JSON.parse(collectorConfig({ namespace: "n", region: "r", logGroupName: "l" })) as {
      readonly exporters: { readonly awsemf: { readonly metric_declarations: readonly Declaration[] } };
    };
    const declared = exporters.awsemf.metric_declarations.map(
      ({ metric_name_selectors: [selector = ""], dimensions }) => {
        const name = [...OUR_NAMES.keys()].filter((one) => new RegExp(selector).test(one));
        return [name.join(), dimensions.flat()];
      },
    );
    expect(declared).toEqual([...OUR_NAMES]);
  });

  it("takes no first value for a baseline", () => {
    const { exporters } = JSON.parse(collectorConfig({ namespace: "n", region: "r", logGroupName: "l" })) as {
      readonly exporters: object;
    };
    expect(exporters).toMatchObject({ awsemf: { retain_initial_value_of_delta_metric: true } });
  });
});

interface Declaration {
  readonly metric_name_selectors: readonly string[];
  readonly dimensions: readonly (readonly string[])[];
}

describe("every alarm", () => {
  it("tells somebody, and names a runbook that is there", () => {
    const alarms = resources("AWS::CloudWatch::Alarm").filter(({ at }) => at.includes("/observe/"));
    expect(alarms).toHaveLength(16);
    for (const { at, properties } of alarms) {
      expect(listOf(properties["AlarmActions"])).toHaveLength(1);
      const [, file = "", anchor] =
        /What to do: (docs\/[\w-]+\.md)(?:#([\w-]+))?$/.exec(String(properties["AlarmDescription"])) ?? [];
      expect([at, file, existsSync(join(PROJECT, file))]).toEqual([at, file, true]);
      if (anchor !== undefined) expect([at, headings(file).includes(anchor)]).toEqual([at, true]);
    }
  });

  it("that workers alone can set off goes off when there are none, and others do not when nothing happens", () => {
    const silent = resources("AWS::CloudWatch::Alarm").filter(
      ({ properties }) => properties["TreatMissingData"] === "breaching",
    );
    expect(silent.map(({ properties }) => properties["AlarmName"])).toEqual([
      "holdpoint-development-BacklogAge",
      "holdpoint-production-BacklogAge",
    ]);
  });

  it("is there for each of the two environments", () => {
    expect(environments().map(({ environment }) => environment)).toEqual(["development", "production"]);
  });
});

function headings(file: string): readonly string[] {
  const text = readFileSync(join(PROJECT, file), "utf8");
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

/** What was told over OTLP, in the protocol's own JSON: as a receiver is sent it, and as the Collector writes it to a file. */

export interface TraceRequest {
  readonly resourceSpans?: readonly { readonly scopeSpans: readonly { readonly spans: readonly SpanJson[] }[] }[];
}
export interface MetricsRequest {
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics: readonly {
      readonly scope?: { readonly name?: string };
      readonly metrics?: readonly MetricJson[];
    }[];
  }[];
}

interface AttributeJson {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
interface LinkJson {
  readonly traceId: string;
  readonly spanId: string;
}
interface SpanJson extends LinkJson {
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes?: readonly AttributeJson[];
  readonly links?: readonly LinkJson[];
  readonly status?: { readonly code?: number };
}
interface PointJson {
  readonly attributes?: readonly AttributeJson[];
  readonly asInt?: number | string;
  readonly asDouble?: number;
  readonly count?: number | string;
  readonly sum?: number;
}
interface Points {
  readonly dataPoints: readonly PointJson[];
}
interface MetricJson {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: Points;
  readonly gauge?: Points;
  readonly histogram?: Points;
}

export interface ToldSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer";
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Ids of the spans that it is linked to. */
  readonly links: readonly string[];
  readonly failed: boolean;
}

export interface ToldMetric {
  readonly name: string;
  readonly unit: string;
  readonly kind: "sum" | "gauge" | "histogram";
  /** Names of the attributes of all its points. */
  readonly attributes: readonly string[];
  /** One for each set of attributes, as it was told last; of a histogram how much in all, and how often. */
  readonly points: readonly ToldPoint[];
}

export interface ToldPoint {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly count: number;
}

const KINDS = { 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer" } as const;

export function spansIn(requests: readonly TraceRequest[]): readonly ToldSpan[] {
  return requests
    .flatMap(({ resourceSpans = [] }) => resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)
    .map(({ traceId, spanId, parentSpanId, name, kind, attributes = [], links = [], status }) => ({
      traceId,
      spanId,
      parentId: parentSpanId === undefined || parentSpanId === "" ? undefined : parentSpanId,
      name,
      kind: KINDS[kind as keyof typeof KINDS],
      attributes: valuesOf(attributes),
      links: links.map((link) => link.spanId),
      failed: status?.code === 2,
    }));
}

export function metricsIn(requests: readonly MetricsRequest[]): readonly ToldMetric[] {
  const all = requests
    .flatMap(({ resourceMetrics = [] }) => resourceMetrics)
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics = [] }) => metrics);
  return [...Map.groupBy(all, ({ name }) => name)].map(([name, told]) => {
    const points = told.flatMap(({ sum, gauge, histogram }) => (sum ?? gauge ?? histogram)?.dataPoints ?? []);
    const attributes = new Set(points.flatMap((point) => point.attributes ?? []).map(({ key }) => key));
    const [first] = told;
    const kind = first?.sum ? "sum" : first?.gauge ? "gauge" : "histogram";
    return {
      name,
      unit: first?.unit ?? "",
      kind,
      attributes: [...attributes].toSorted((a, b) => a.localeCompare(b)),
      points: [...new Map(points.map(pointOf).map((point) => [JSON.stringify(point.attributes), point])).values()],
    };
  });
}

const valuesOf = (attributes: readonly AttributeJson[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

const pointOf = ({ attributes = [], asInt, asDouble, count = 1, sum }: PointJson): ToldPoint => ({
  attributes: valuesOf(attributes),
  value: Number(sum ?? asDouble ?? asInt ?? 0),
  count: Number(count),
});

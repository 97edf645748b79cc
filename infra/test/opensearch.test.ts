/** Environments with an OpenSearch: its workers, and nobody else, are told of it and may send requests to its index. */
import { describe, expect, it } from "vitest";
import { synthesiseAll } from "../synth.ts";
import type { Resource } from "../synth.ts";
import { configOf, environments, listOf } from "./infra-kit.ts";
import type { Container, Statement } from "./infra-kit.ts";

const development = configOf("development");

const DOMAIN = {
  url: "https://search-documents-x.eu-central-1.es.amazonaws.com",
  arn: "arn:aws:es:eu-central-1:111122223333:domain/documents",
  index: "holdpoint",
};
const SERVERLESS = {
  url: "https://abc.eu-central-1.aoss.amazonaws.com",
  arn: "arn:aws:aoss:eu-central-1:111122223333:collection/abc",
  index: "holdpoint",
};

type Service = readonly (readonly [string, Resource])[];

async function serviceWith(openSearch: typeof DOMAIN): Promise<Service> {
  const [made] = await synthesiseAll([{ ...development, openSearch }]);
  return Object.entries(made?.templates["service"]?.Resources ?? {});
}

/** What its policies allow of OpenSearch, by the beginning of the policy's name. */
function allowed(service: Service): readonly object[] {
  return service.flatMap(([id, { Type, Properties }]) => {
    if (Type !== "AWS::IAM::Policy") return [];
    const { Statement = [] } = (Properties?.["PolicyDocument"] ?? {}) as { readonly Statement?: readonly Statement[] };
    const found = Statement.filter(({ Action }) => listOf(Action).some((action) => /^(es|aoss):/.test(String(action))));
    return found.map(({ Action, Resource: on }) => ({ at: /^[A-Z][a-z]+Role/.exec(id)?.[0], Action, Resource: on }));
  });
}

/** What the containers of a task are told of OpenSearch. */
function told(service: Service, task: string): readonly (readonly [string, unknown])[] {
  const { Properties } =
    service.find(([id, { Type }]) => Type === "AWS::ECS::TaskDefinition" && id.startsWith(task))?.[1] ?? {};
  const containers = (Properties?.["ContainerDefinitions"] ?? []) as readonly Container[];
  return containers
    .flatMap(({ Environment = [] }) => Environment)
    .filter(({ Name }) => Name.includes("OPENSEARCH"))
    .map(({ Name, Value }) => [Name, Value]);
}

describe("an environment", { timeout: 60_000 }, () => {
  it("with a domain lets workers send requests to the one index, and signs them for it", async () => {
    const service = await serviceWith(DOMAIN);
    expect(allowed(service)).toEqual([
      {
        at: "WorkerRole",
        Action: ["es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut"],
        Resource: [`${DOMAIN.arn}/holdpoint`, `${DOMAIN.arn}/holdpoint/*`],
      },
    ]);
    expect(told(service, "ApiTask")).toEqual([]);
    expect(told(service, "WorkerTask")).toEqual([
      ["HOLDPOINT_OPENSEARCH_URL", DOMAIN.url],
      ["HOLDPOINT_OPENSEARCH_INDEX", "holdpoint"],
      ["HOLDPOINT_OPENSEARCH_SERVICE", "es"],
    ]);
  });

  it("with a collection of Serverless lets workers reach it; its data access policy says what they may do", async () => {
    const service = await serviceWith(SERVERLESS);
    expect(allowed(service)).toEqual([{ at: "WorkerRole", Action: "aoss:APIAccessAll", Resource: SERVERLESS.arn }]);
    expect(told(service, "WorkerTask")).toContainEqual(["HOLDPOINT_OPENSEARCH_SERVICE", "aoss"]);
  });

  it("without either has nothing of it", () => {
    for (const { templates } of environments()) {
      const service = Object.entries(templates["service"]?.Resources ?? {});
      expect(allowed(service)).toEqual([]);
      expect([...told(service, "ApiTask"), ...told(service, "WorkerTask")]).toEqual([]);
    }
  });
});

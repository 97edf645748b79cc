import type { SigningService } from "./opensearch-signing.ts";

const AMAZONS: readonly (readonly [RegExp, SigningService])[] = [
  [/\.(?<region>[a-z0-9-]+)\.es\.amazonaws\.com(\.cn)?$/, "es"],
  [/\.aos\.(?<region>[a-z0-9-]+)\.on\.aws$/, "es"],
  [/\.(?<region>[a-z0-9-]+)\.aoss\.amazonaws\.com(\.cn)?$/, "aoss"],
  [/\.aoss\.(?<region>[a-z0-9-]+)\.on\.aws$/, "aoss"],
];

export interface AmazonEndpoint {
  readonly service: SigningService;
  readonly region: string;
}

/** Which service of Amazon answers at a URL, and in which region; undefined when its name is not one of Amazon's. */
export function amazonEndpoint(url: string): AmazonEndpoint | undefined {
  const host = URL.parse(url)?.hostname ?? "";
  for (const [form, service] of AMAZONS) {
    const region = form.exec(host)?.groups?.["region"];
    if (region !== undefined) return { service, region };
  }
  return undefined;
}

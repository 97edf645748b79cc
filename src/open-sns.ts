import type { Config } from "./config.ts";
import type { GivenDeps } from "./runtime/create.ts";

/** Looks at the signatures of messages of Amazon SNS, unless they are to be ignored. */
export async function openSns({ snsSignatures: signatures }: Config): Promise<Pick<GivenDeps, "sns">> {
  if (signatures === "ignored") return {};
  const { createSnsCertificates } = await import("./local/sns-certificates.ts");
  return { sns: { signatures, certificates: createSnsCertificates() } };
}

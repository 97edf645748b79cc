/**
 * Whether a message that claims to be of Amazon SNS is: asked beside the token of its callback, which says who may answer.
 * Whoever has the token may as well send no such message; what is found out here is that a topic's was changed, or made up.
 */
import { snsMessageOf } from "../../core/callback-shape.ts";
import type { Json } from "../../core/json.ts";
import { assertSignedWith, notGenuine, snsSignatureOf } from "../../core/sns-signature.ts";
import type { Deps } from "../deps.ts";

/** @throws HoldpointError `forbidden` for a signature that does not count; `unavailable` while its certificate is not there */
export async function assertGenuine(
  { sns, table }: Pick<Deps, "sns" | "table">,
  body: Json | undefined,
): Promise<void> {
  const message = sns && snsMessageOf(body);
  if (!message) return;
  const signature = snsSignatureOf(message);
  if (signature) assertSignedWith(signature, await sns.certificates.get(signature.certificateUrl), table.now());
  else if (sns.signatures === "required") throw notGenuine("it has none");
}

import { Webhook } from "standardwebhooks";

/** Registers an address; keep the secret, it is not shown again. */
export async function register(apiUrl: string, apiKey: string, url: string) {
  const answer = await fetch(`${apiUrl}/v1/webhooks`, {
    method: "POST",
    headers: { "x-api-key": apiKey, "content-type": "application/json" },
    body: JSON.stringify({ url, events: ["review.opened", "review.decided"], groups: ["payments"] }),
  });
  return (await answer.json()) as { readonly id: string; readonly secret: string };
}

const seen = new Set<string>();

/** What a target does with a request: verify the body as it came, and pass over what it has seen. */
export function receive(secret: string, body: string, headers: Record<string, string>): unknown {
  const event = new Webhook(secret).verify(body, headers); // throws when it is not from us, or older than five minutes
  const id = headers["webhook-id"] ?? "";
  if (seen.has(id)) return undefined;
  seen.add(id);
  return event;
}

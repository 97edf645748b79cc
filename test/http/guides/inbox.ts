interface Review {
  readonly id: string;
  readonly title: string | null;
  readonly state: string;
  readonly digest: string;
  readonly version: string;
}

/** An inbox of one reviewer. */
export function inbox(url: string, apiKey: string) {
  const send = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}/v1/reviews${path}`, {
      method,
      headers: { "x-api-key": apiKey, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    return response;
  };
  return {
    async waiting(filter: string): Promise<readonly Review[]> {
      const page = (await (await send("GET", `?state=open&${filter}`)).json()) as { readonly items: readonly Review[] };
      return page.items;
    },
    claim: ({ id }: Review) => send("POST", `/${id}/claim`, { for_ms: 10 * 60_000 }),
    /** The digest says what was shown; the key makes it safe to send twice. */
    decide: async ({ id, digest }: Review, answer: object, key: string): Promise<Review> => {
      const response = await send("POST", `/${id}/decisions`, { ...answer, digest }, { "idempotency-key": key });
      return (await response.json()) as Review;
    },
  };
}

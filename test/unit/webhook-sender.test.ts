/** The one thing that this service sends to addresses that tenants name: what it must not reach, and not wait for. */
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { describe, expect, it } from "vitest";
import { createWebhookSender } from "../../src/local/webhook-sender.ts";
import type { WebhookSenderOptions } from "../../src/local/webhook-sender.ts";
import { listen } from "../support/http.ts";
import type { Listening } from "../support/http.ts";

const target = (listener: RequestListener): Promise<Listening> => listen(createServer(listener));

function post(url: string, options: WebhookSenderOptions) {
  const request = {
    url,
    headers: { "webhook-id": "1" },
    body: Buffer.from("{}"),
    signal: new AbortController().signal,
  };
  return createWebhookSender(options).send(request);
}

const LOCAL: WebhookSenderOptions = { allowed: ["127.0.0.1", "hooks.test"], timeoutMs: 5000 };
const to = (address: string) => async () => [{ address, family: address.includes(":") ? 6 : 4 }];

describe("a webhook", () => {
  it("is posted with its headers and body, and answered with the status alone", async () => {
    const seen: unknown[] = [];
    await using server = await target((request, response) => {
      request.on("data", (chunk: Buffer) => seen.push(request.method, request.headers["webhook-id"], String(chunk)));
      request.on("end", () => response.writeHead(200).end("<script>garbage that is no JSON"));
    });
    expect(await post(server.url, LOCAL)).toEqual({ kind: "answered", status: 200 });
    expect(seen).toEqual(["POST", "1", "{}"]);
  });

  it("follows no redirect", async () => {
    let reached = 0;
    await using elsewhere = await target((_request, response) => {
      reached++;
      response.end();
    });
    await using server = await target((_request, response) => {
      response.writeHead(307, { location: elsewhere.url }).end();
    });
    expect(await post(server.url, LOCAL)).toEqual({ kind: "answered", status: 307 });
    expect(reached).toBe(0);
  });

  it("does not wait for a target that never answers", async () => {
    await using server = await target(() => {});
    expect(await post(server.url, { ...LOCAL, timeoutMs: 50 })).toEqual({ kind: "failed", error: "no answer in time" });
  });

  it("reads no more of an answer than it says, though it never ends", async () => {
    let closed = false;
    await using server = await target((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        for (let i = 0; i < 10 && response.write("x".repeat(65_536)); i++);
      };
      response.on("drain", more).on("close", () => (closed = true));
      more();
    });
    expect(await post(server.url, LOCAL)).toEqual({ kind: "answered", status: 200 });
    await expect.poll(() => closed).toBe(true);
  });

  it.each(["https://127.0.0.1:1/", "https://[::1]:1/", "https://169.254.169.254/", "https://[::ffff:7f00:1]/"])(
    "does not connect to %s",
    async (url) => {
      const { hostname } = new URL(url);
      const error = `the address ${hostname.replace(/^\[|\]$/g, "")} is not public`;
      expect(await post(url, { allowed: [] })).toEqual({ kind: "failed", error });
    },
  );

  it.each(["127.0.0.1", "169.254.170.2", "10.0.0.1", "::1", "fd00:ec2::254", "::ffff:127.0.0.1"])(
    "does not connect to a name that resolves to %s by then",
    async (address) => {
      let connections = 0;
      await using server = await target((_request, response) => void response.end());
      server.server.on("connection", () => connections++);
      const { port } = new URL(server.url);
      const sent = await post(`https://rebound.example:${port}/`, { allowed: [], resolve: to(address) });
      expect(sent).toEqual({ kind: "failed", error: `the address ${address} is not public` });
      expect(connections).toBe(0);
    },
  );

  it("does not connect to a name of which one address is not public", async () => {
    const resolve = async () => [
      { address: "93.184.216.34", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ];
    expect(await post("https://both.example/", { allowed: [], resolve })).toMatchObject({ kind: "failed" });
  });

  it("without the check of what a name resolves to reaches this machine (negative control)", async () => {
    await using server = await target((_request, response) => void response.writeHead(204).end());
    const { port } = new URL(server.url);
    const sent = await post(`http://hooks.test:${port}/`, { ...LOCAL, resolve: to("127.0.0.1") });
    expect(sent).toEqual({ kind: "answered", status: 204 });
  });
});

/** Signatures of Amazon SNS: what counts, what does not, and where certificates may be fetched. */
import { createServer } from "node:http";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { SnsSignatures } from "../../src/core/sns-signature.ts";
import { createSnsCertificates } from "../../src/local/sns-certificates.ts";
import { assertGenuine } from "../../src/runtime/decisions/sns-messages.ts";
import { listen } from "../support/http.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { CERTIFICATE_URL, TOPIC, createTopic } from "../support/sns-topic.ts";

const NOW = Date.now();
const table = createMemoryTable({ now: () => NOW });
const topic = createTopic();
const NOTIFICATION = { Type: "Notification", Message: '{"parcel":"p1"}' };
const SUBSCRIPTION = {
  Type: "SubscriptionConfirmation",
  Message: "confirm",
  Token: "t1",
  SubscribeURL: "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t1",
};

const look = (
  body: JsonObject,
  signatures: Exclude<SnsSignatures, "ignored"> = "checked",
  { certificates } = topic,
): Promise<void> => assertGenuine({ table, sns: { signatures, certificates } }, body);
const forbidden = (why: RegExp): unknown =>
  expect.objectContaining({ code: "forbidden", message: expect.stringMatching(why) as string });

describe("a message of Amazon SNS", () => {
  it.each([
    ["a notification", NOTIFICATION],
    ["a notification with a subject", { ...NOTIFICATION, Subject: "parcel" }],
    ["a subscription", SUBSCRIPTION],
    ["the end of one", { ...SUBSCRIPTION, Type: "UnsubscribeConfirmation" }],
  ])("is what it says with a good signature of either version: %s", async (_, fields) => {
    for (const version of ["1", "2"] as const)
      await expect(look(topic.signed(fields, version), "required")).resolves.toBeUndefined();
  });

  it.each([
    ["Message", NOTIFICATION, { Message: '{"parcel":"p2"}' }],
    ["Subject", NOTIFICATION, { Subject: "added" }],
    ["Timestamp", NOTIFICATION, { Timestamp: "2030-01-01T00:00:00.000Z" }],
    ["TopicArn", NOTIFICATION, { TopicArn: `${TOPIC}2` }],
    ["SubscribeURL", SUBSCRIPTION, { SubscribeURL: `${SUBSCRIPTION.SubscribeURL}2` }],
    ["Signature", NOTIFICATION, { Signature: "" }],
    ["SignatureVersion", NOTIFICATION, { SignatureVersion: "2" }],
  ])("is refused when its %s was changed", async (_, fields, change) => {
    await expect(look({ ...topic.signed(fields), ...change })).rejects.toEqual(forbidden(/not that of this message/));
  });

  it("is refused with the key of another certificate, and with one that has run out", async () => {
    await expect(look(topic.signed(NOTIFICATION), "checked", createTopic())).rejects.toEqual(forbidden(/not that of/));
    const old = createTopic(NOW - 1_000);
    await expect(look(old.signed(NOTIFICATION), "checked", old)).rejects.toEqual(forbidden(/not valid now/));
    const none = { ...topic, certificates: { get: async () => "<html>" } };
    await expect(look(topic.signed(NOTIFICATION), "checked", none)).rejects.toEqual(forbidden(/no certificate/));
  });

  it.each([
    "http://sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.us-east-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com.example.com/a.pem",
    "https://example.com@sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
    "https://sns.eu-central-1.amazonaws.com/a.pem?x=1",
    "https://sns.eu-central-1.amazonaws.com/?Action=Subscribe",
    "https://s3.amazonaws.com/bucket/a.pem",
    "https://169.254.169.254/a.pem",
    "http://[::1]/",
    "a.pem",
    "",
  ])("whose certificate is said to be at %s is refused, and nobody asks there", async (address) => {
    const asked = topic.asked.length;
    const message = { ...topic.signed(NOTIFICATION), SigningCertURL: address };
    await expect(look(message)).rejects.toEqual(forbidden(/not one of Amazon SNS/));
    expect(topic.asked).toHaveLength(asked);
  });

  it("without a signature is refused only where one is required, and what is no such message never is", async () => {
    const { Signature: _, SigningCertURL: __, SignatureVersion: ___, ...unsigned } = topic.signed(NOTIFICATION);
    await expect(look(unsigned)).resolves.toBeUndefined();
    await expect(look(unsigned, "required")).rejects.toEqual(forbidden(/it has none/));
    await expect(look({ parcel: "p1", Signature: "none" }, "required")).resolves.toBeUndefined();
    const version = { ...topic.signed(NOTIFICATION), SignatureVersion: "3" };
    await expect(look(version)).rejects.toEqual(forbidden(/neither 1 nor 2/));
    await expect(assertGenuine({ table }, version)).resolves.toBeUndefined();
  });
});

describe("a certificate", () => {
  it("is fetched once, and again after a failure, which is for a later attempt", async () => {
    let asked = 0;
    await using server = await listen(
      createServer((_request, response) => {
        asked++;
        response.writeHead(asked === 1 ? 503 : 200).end("PEM");
      }),
    );
    const certificates = createSnsCertificates({ allowed: ["127.0.0.1"] });
    const url = `${server.url}/a.pem`;
    await expect(certificates.get(url)).rejects.toMatchObject({ code: "unavailable" });
    expect(await Promise.all([certificates.get(url), certificates.get(url)])).toEqual(["PEM", "PEM"]);
    expect(await certificates.get(url)).toBe("PEM");
    expect(asked).toBe(2);
  });

  it("is fetched from no address that is not public, whatever its name resolves to, and without redirects", async () => {
    const away = { code: "unavailable" };
    const inside = createSnsCertificates({ resolve: async () => [{ address: "169.254.169.254", family: 4 }] });
    await expect(inside.get(CERTIFICATE_URL)).rejects.toMatchObject({
      ...away,
      message: expect.stringContaining("169.254.169.254 is not public") as string,
    });
    await expect(inside.get("https://127.0.0.1/a.pem")).rejects.toMatchObject(away);
    await expect(inside.get("http://example.com/a.pem")).rejects.toMatchObject(away);
    let reached = 0;
    await using server = await listen(
      createServer((request, response) => {
        if (request.url === "/b.pem") reached++;
        response.writeHead(302, { location: "/b.pem" }).end();
      }),
    );
    const local = createSnsCertificates({ allowed: ["127.0.0.1"] });
    await expect(local.get(`${server.url}/a.pem`)).rejects.toMatchObject(away);
    expect(reached).toBe(0);
  });

  it("that is too long, or never comes, is not waited for", async () => {
    await using server = await listen(
      createServer((request, response) => {
        if (request.url === "/long.pem") response.end("x".repeat(100_000));
      }),
    );
    const certificates = createSnsCertificates({ allowed: ["127.0.0.1"], timeoutMs: 200 });
    for (const path of ["long", "never"])
      await expect(certificates.get(`${server.url}/${path}.pem`)).rejects.toMatchObject({ code: "unavailable" });
  });
});

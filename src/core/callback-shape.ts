/**
 * What may arrive at a callback, by who sends it: a notification of Amazon SNS, what a state machine of AWS Step Functions
 * passes on with its task token, or any other JSON, which is then the result itself.
 */
import { HoldpointError } from "./errors.ts";
import { assertSafeJson } from "./json.ts";
import type { Json, JsonObject } from "./json.ts";
import { regionOfTopic } from "./sns-signature.ts";

export type Arrival =
  | { readonly kind: "arrived"; readonly result: Json }
  | { readonly kind: "failed"; readonly error: string; readonly cause: string }
  /** A topic asks whether it may send here. Its address is Amazon's, is kept for an operator, and is never fetched. */
  | { readonly kind: "subscription"; readonly topicArn: string; readonly subscribeUrl: string }
  /** A topic says that it will send no more. */
  | { readonly kind: "unsubscribed" };

/**
 * @param body undefined when there was none
 * @throws HoldpointError `invalid` for a task token of somebody else, for a message that no JSON may be, and for a
 *   subscription whose topic or address is not one of Amazon SNS
 */
export function arrivalOf(body: Json | undefined, token: string): Arrival {
  const notice = snsMessageOf(body);
  if (!notice) return resultOf(body ?? null, token);
  switch (notice["Type"]) {
    case "SubscriptionConfirmation":
      return subscriptionOf(text(notice["TopicArn"]), text(notice["SubscribeURL"]));
    case "UnsubscribeConfirmation":
      return { kind: "unsubscribed" };
    default:
      return resultOf(jsonOr(text(notice["Message"])), token);
  }
}

const MAX_URL = 2048;

/** An operator is going to look at the address: so it is of the topic's own region, and nobody else's. */
function subscriptionOf(topicArn: string, subscribeUrl: string): Arrival {
  const region = regionOfTopic(topicArn);
  const url = subscribeUrl.length <= MAX_URL && URL.canParse(subscribeUrl) ? new URL(subscribeUrl) : undefined;
  const hosts = [`https://sns.${region}.amazonaws.com`, `https://sns.${region}.amazonaws.com.cn`];
  const isAmazons = url?.username === "" && url.password === "" && hosts.includes(url.origin);
  if (region === undefined || !isAmazons)
    throw new HoldpointError("invalid", "the topic or the address of this subscription is not one of Amazon SNS");
  return { kind: "subscription", topicArn, subscribeUrl };
}

const NOTICES: ReadonlySet<unknown> = new Set(["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]);

/** Undefined for what is no message of Amazon SNS. */
export function snsMessageOf(body: Json | undefined): JsonObject | undefined {
  if (!isObject(body) || !NOTICES.has(body["Type"])) return undefined;
  const isNotice = ["MessageId", "TopicArn", "Message"].every((name) => typeof body[name] === "string");
  return isNotice ? body : undefined;
}

const PASSED_ON: ReadonlySet<string> = new Set(["taskToken", "output", "error", "cause"]);

function resultOf(body: Json, token: string): Arrival {
  if (!isPassedOn(body)) return { kind: "arrived", result: body };
  const { taskToken, output, error, cause } = body;
  if (taskToken !== token)
    throw new HoldpointError("invalid", "the task token in the body is not that of this callback");
  if (output === undefined) return { kind: "failed", error: text(error), cause: text(cause) };
  return { kind: "arrived", result: typeof output === "string" ? jsonOr(output) : output };
}

function isPassedOn(body: Json): body is JsonObject {
  if (!isObject(body) || typeof body["taskToken"] !== "string") return false;
  const isOne = (body["output"] === undefined) !== (body["error"] === undefined);
  return isOne && Object.keys(body).every((name) => PASSED_ON.has(name));
}

/** JSON in a text, as both services send it; a text that is none is the result itself. */
function jsonOr(said: string): Json {
  let value: Json;
  try {
    value = JSON.parse(said) as Json;
  } catch {
    return said;
  }
  assertSafeJson(value);
  return value;
}

const text = (value: Json | undefined): string => (typeof value === "string" ? value : "");

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

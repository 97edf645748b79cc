/**
 * What an error of Bedrock, of the SDK or of the connection means. By name: an exception that comes in the middle of a
 * stream has no status.
 */
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import { modelFailure } from "../models/failure.ts";
import type { FailureReason } from "../models/failure.ts";

const REASONS: Readonly<Record<string, FailureReason>> = {
  ThrottlingException: "throttled",
  TooManyRequestsException: "throttled",
  ServiceQuotaExceededException: "quota",
  ServiceUnavailableException: "unavailable",
  InternalServerException: "unavailable",
  InternalFailure: "unavailable",
  ModelNotReadyException: "unavailable",
  ModelErrorException: "unavailable",
  ModelStreamErrorException: "unavailable",
  ModelTimeoutException: "timeout",
  TimeoutError: "timeout",
  ValidationException: "invalid_request",
  ResourceNotFoundException: "unknown_model",
  AccessDeniedException: "credentials",
  ExpiredTokenException: "credentials",
  ExpiredToken: "credentials",
  UnrecognizedClientException: "credentials",
  InvalidSignatureException: "credentials",
  IncompleteSignatureException: "credentials",
  MissingAuthenticationTokenException: "credentials",
  InvalidClientTokenId: "credentials",
  CredentialsProviderError: "credentials",
  TokenProviderError: "credentials",
};

/** Of connections: where nothing was sent, or the answer broke off. */
const BROKEN: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE", "ECONNABORTED"]);
const AWAY: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"]);

/** Refused although the name says only that something is wrong with the request. */
const WRONG_MODEL = /model identifier is invalid|on-demand throughput isn.t supported|end of its life/i;

/** Any error of a call as a failure of the model at `place`; one that is a HoldpointError already stays as it is. */
export function bedrockFailure(error: unknown, place: string): HoldpointError {
  if (error instanceof HoldpointError) return error;
  const { name, message, code } = fieldsOf(error);
  const meaning = meaningOf(name, code, message);
  if (meaning)
    return modelFailure(meaning, `${SAYS[meaning] ?? "the call failed"} (${place}): ${name}: ${message}`, error);
  const status = statusOf(error);
  const isDown = status !== undefined && status >= 500;
  // What the SDK cannot decode is a frame with a wrong checksum, or half a body, or not Bedrock's at all: nothing of it is
  // to be trusted, nor told, since its words have pieces of the body.
  const reason = isDown ? "unavailable" : "cut";
  return modelFailure(reason, `${SAYS[reason]} (${place}): ${name}${status === undefined ? "" : `, HTTP ${status}`}`);
}

/**
 * The same of a call that has not written its request. What has no meaning here was thrown by LangChain's client or the
 * SDK about what they were given: it is neither tried again nor blamed on anybody.
 */
export function unwrittenFailure(error: unknown, place: string): HoldpointError {
  const { name, message, code } = fieldsOf(error);
  if (error instanceof HoldpointError || meaningOf(name, code, message) !== undefined)
    return bedrockFailure(error, place);
  return modelFailure("invalid_request", `the request cannot be written (${place}): ${name}: ${message}`, error);
}

const SAYS: Partial<Record<FailureReason, string>> = {
  throttled: "Bedrock asks for fewer requests",
  quota: "a quota of Bedrock is used up",
  unavailable: "the model is not available",
  timeout: "the model did not answer in time",
  cut: "the model's answer broke off",
  invalid_request: "Bedrock refused the request",
  credentials: "Bedrock did not accept the credentials",
  unknown_model: "Bedrock does not have this model here",
};

function meaningOf(name: string, code: string, message: string): FailureReason | undefined {
  // By code first: the SDK calls a connection that broke a time-out.
  if (AWAY.has(code)) return "unavailable";
  if (BROKEN.has(code)) return "cut";
  if (code === "ETIMEDOUT") return "timeout";
  const reason = REASONS[name];
  if (reason === "invalid_request" && WRONG_MODEL.test(message)) return "unknown_model";
  return reason;
}

/** Of the answer that an error is about, as the SDK's errors keep it. */
function statusOf(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { $metadata, $response } = error as { readonly $metadata?: unknown; readonly $response?: unknown };
  const said = STATUS.safeParse({ metadata: $metadata, response: $response }).data;
  return said?.metadata?.httpStatusCode ?? said?.response?.statusCode;
}

const STATUS = z.object({
  metadata: z.object({ httpStatusCode: z.number().optional() }).optional(),
  response: z.object({ statusCode: z.number().optional() }).optional(),
});

function fieldsOf(error: unknown): { readonly name: string; readonly message: string; readonly code: string } {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), code: "" };
  const code: unknown = "code" in error ? error.code : undefined;
  return { name: error.name, message: error.message, code: typeof code === "string" ? code : "" };
}

/**
 * Another system must answer: underneath it is a LangGraph interrupt, which `POST /v1/callbacks/{token}` answers. The
 * token is made from where the code stands, so that it is the same whenever its node is executed again.
 */
import { interrupt } from "@langchain/langgraph";
import { z } from "zod";
import { callbackKey } from "../core/callback-token.ts";
import { HoldpointError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { uncheckable } from "../core/json-schema.ts";
import { strictJson } from "../core/plain-json.ts";
import { callbackValue, outcomeOf } from "../core/wait-value.ts";
import type { WaitOutcome } from "../core/wait-value.ts";
import { assertAnswerable } from "./answerable.ts";
import { contextOf, scratchpadOf } from "./context.ts";
import type { NodeConfig } from "./context.ts";
import { assertKnown } from "./known.ts";
import type { Fields } from "./known.ts";

export interface CallbackSpec<T = Json> {
  /** It is given up after this long, by the table's time. */
  readonly timeoutMs: number;
  /** What arrives must fit it: anything else is refused, and waited for on. A Zod schema, or a JSON Schema. */
  readonly schema?: z.ZodType<T> | JsonObject;
  /**
   * Hands the token out: whoever has it may answer, once. It is called whenever the node is executed, so what it sends
   * belongs into an `effect()`.
   */
  readonly send?: (token: string) => Promise<unknown>;
}

/** What came: a result, the failure that the other side reported, or nothing in time. */
export type CallbackResult<T = Json> =
  | { readonly kind: "arrived"; readonly result: T }
  | { readonly kind: "failed"; readonly error: string; readonly cause: string }
  | { readonly kind: "timeout" };

/**
 * Waits for another system's answer; no worker is kept busy meanwhile.
 * @throws HoldpointError `invalid` for a time-out that is none and a schema that is not JSON; `unsupported` in a subgraph
 *   compiled without a checkpointer
 */
export async function callback<T = Json>(config: NodeConfig, spec: CallbackSpec<T>): Promise<CallbackResult<T>> {
  const context = contextOf(config, "callback()");
  assertAnswerable(config, "callback");
  assertKnown("callback()", spec, FIELDS);
  const { timeoutMs, schema, send } = spec;
  if (!(timeoutMs > 0 && timeoutMs <= LONGEST_MS))
    throw new HoldpointError("invalid", "callback(): `timeoutMs` is no length of time");
  const asked = { timeoutMs, ...(schema === undefined ? {} : { schema: jsonSchemaOf(schema) }) };
  for (;;) {
    const key = callbackKey(namespaceOf(config), scratchpadOf(config).interruptCounter + 1);
    await send?.(await context.callbackToken(key));
    const came = asResult(outcomeOf(interrupt(callbackValue({ ...asked, key }))));
    // What is undefined was meant for something else, because the code has changed meanwhile.
    if (came) return typed(came, schema);
  }
}

const FIELDS: Fields<CallbackSpec> = { timeoutMs: true, schema: true, send: true };
const LONGEST_MS = 10 * 365 * 24 * 3_600_000;

function asResult(outcome: WaitOutcome | undefined): CallbackResult | undefined {
  return outcome?.kind === "fired" ? undefined : outcome;
}

function namespaceOf(config: NodeConfig): string {
  const ns: unknown = config.configurable?.["checkpoint_ns"];
  return typeof ns === "string" ? ns : "";
}

/** It was checked when it arrived; a Zod schema may also make something of it. */
function typed<T>(came: CallbackResult, schema: CallbackSpec<T>["schema"]): CallbackResult<T> {
  if (came.kind !== "arrived") return came;
  return { kind: "arrived", result: isZod(schema) ? schema.parse(came.result) : (came.result as T) };
}

function jsonSchemaOf<T>(schema: z.ZodType<T> | JsonObject): JsonObject {
  const json = strictJson(isZod(schema) ? z.toJSONSchema(schema, { io: "input" }) : schema);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new HoldpointError("invalid", "callback(): `schema` must be an object");
  const given = json as JsonObject; // neither null nor a list
  const problem = isZod(schema) ? undefined : uncheckable(given);
  if (problem !== undefined)
    throw new HoldpointError("invalid", `callback(): \`schema\`: no answer can be checked against it: ${problem}`);
  return given;
}

const isZod = <T>(schema: CallbackSpec<T>["schema"]): schema is z.ZodType<T> =>
  schema !== undefined && "_zod" in schema;

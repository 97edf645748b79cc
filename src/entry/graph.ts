/** `holdpoint/graph`: what authors of graphs import. */
export { effect } from "../graph/effect.ts";
export { EffectRejected } from "../graph/effect-call.ts";
export type { EffectSpec } from "../graph/effect.ts";
export type { Lookup } from "../graph/effect-call.ts";
export type { Http } from "../graph/http.ts";
export { review } from "../graph/review.ts";
export type { ReviewAnswer, ReviewSpec } from "../graph/review.ts";
export { services } from "../graph/services.ts";
export type { Documents, Services } from "../graph/services.ts";
export { ToolFailed, toolNode } from "../graph/tool-node.ts";
export type { ToolNodeOptions, ToolNodeState, ToolNodeUpdate, ToolRefusal } from "../graph/tool-node.ts";
export { where } from "../graph/where.ts";
export type { NodeConfig } from "../graph/context.ts";
export type { EffectPolicy } from "../core/effect.ts";
export { HoldpointError, isHoldpointError } from "../core/errors.ts";
export type { Json, JsonObject } from "../core/json.ts";
export type { Model, ModelMessage, ModelReply } from "../models/model.ts";
export type { Passage } from "../retrieval/retriever.ts";

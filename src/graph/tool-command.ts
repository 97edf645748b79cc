/**
 * Commands of tools, on their way through a functional task: what a task has returned is stored, and a stored Command
 * comes back as a plain object, which LangGraph would take for an update of the state.
 */
import { ToolMessage } from "@langchain/core/messages";
import { Command, Send } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";

const PACKED = "holdpoint_command";

export interface PackedCommand {
  readonly [PACKED]: {
    readonly update?: unknown;
    readonly goto: readonly Goto[];
    readonly graph?: string;
  };
}

type Goto = string | { readonly node: string; readonly args: unknown };

export const isPacked = (value: unknown): value is PackedCommand =>
  typeof value === "object" && value !== null && PACKED in value;

/**
 * @throws HoldpointError `invalid` for a Command that leaves the call without an answer: the next message to a model would
 *   be refused for it
 */
export function packed(toolName: string, callId: string, command: Command): PackedCommand {
  const { update, goto, graph } = command;
  if (!answers(update, callId)) {
    throw new HoldpointError(
      "invalid",
      `tool ${toolName} returned a Command that does not answer its call: put a ToolMessage with its tool_call_id into the messages of its update`,
    );
  }
  const all = goto === undefined ? [] : [goto].flat();
  return {
    [PACKED]: {
      update,
      goto: all.map((one) => (typeof one === "string" ? one : { node: one.node, args: one.args as unknown })),
      ...(graph === undefined ? {} : { graph }),
    },
  };
}

export function unpacked({ [PACKED]: { update, goto, graph } }: PackedCommand): Command {
  return new Command({
    ...(update === undefined ? {} : { update: update as Record<string, unknown> }), // a Command had it
    ...(goto.length === 0
      ? {}
      : { goto: goto.map((one) => (typeof one === "string" ? one : new Send(one.node, one.args))) }),
    ...(graph === undefined ? {} : { graph }),
  });
}

/** Whether an update has the message of this call, under whatever name its graph keeps messages. */
function answers(update: unknown, callId: string): boolean {
  if (typeof update !== "object" || update === null) return false;
  const values: readonly unknown[] = Array.isArray(update) ? update.flat() : Object.values(update);
  return values.flat().some((one) => ToolMessage.isInstance(one) && one.tool_call_id === callId);
}

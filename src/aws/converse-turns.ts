/** What Converse takes of a conversation: turns that alternate, and no blank text. */
import type { ContentBlock, Message } from "@aws-sdk/client-bedrock-runtime";

/**
 * The same conversation in turns that alternate. A thread may well hold two messages of a person in a row, or a person's
 * words behind the results of tools; Converse refuses both.
 */
export function alternating(messages: readonly Message[]): Message[] {
  const turns: { role: Message["role"]; content: ContentBlock[] }[] = [];
  for (const { role, content = [] } of messages) {
    const said = content.filter((block) => block.text === undefined || block.text.trim() !== "");
    const last = turns.at(-1);
    if (last && last.role === role) last.content.push(...said);
    else if (said.length > 0) turns.push({ role, content: [...said] });
  }
  return turns;
}

import type { Client } from "@langchain/langgraph-sdk";

/** Every weekday at nine in Berlin, on a thread of its own, until the end of the year. */
export function everyWeekday(client: Client) {
  return client.crons.create("policy-desk", {
    schedule: "0 9 * * 1-5",
    timezone: "Europe/Berlin",
    endTime: "2099-12-31T23:59:59Z",
    input: { messages: [{ role: "user", content: "What waits for me?" }] },
    onRunCompleted: "keep",
    webhook: "https://example.com/hooks/report",
  });
}

import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { EffectRejected, addRetry, effect, services } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";

const State = Annotation.Root({
  room: Annotation<string>(),
  booking: Annotation<string>(),
  told: Annotation<string>(),
});
type Booking = typeof State.State;

export function bookingDesk(hotel: string) {
  async function book({ room }: Booking, config: NodeConfig) {
    const { http } = services(config);
    const booking = await effect<string>(
      config,
      {
        name: "book",
        policy: "queryable",
        args: { room },
        // What the call under this token came to; undefined if it never arrived.
        lookup: async (token) => {
          const found = await http.fetch(`${hotel}/bookings/${token}`);
          return found.status === 404 ? undefined : { result: await found.text() };
        },
      },
      async () => {
        // Idempotency-Key: the token
        const answer = await http.fetch(`${hotel}/bookings`, { method: "POST", body: JSON.stringify({ room }) });
        if (answer.status === 409) throw new EffectRejected(`${room} is taken`);
        if (!answer.ok) throw new Error(`the hotel answered ${answer.status}`);
        return answer.text();
      },
    );
    return { booking };
  }

  const builder = new StateGraph(State)
    .addNode("book", book)
    .addNode("tell", ({ booking, room }) => ({ told: booking ? `booked: ${booking}` : `no ${room}` }))
    .addEdge(START, "book")
    .addEdge("book", "tell");
  return addRetry(builder, "book", {
    attempts: 3,
    backoffMs: 60_000,
    exhausted: "ask-a-person",
    rejected: { goto: "tell" },
  });
}

/** The example of docs/effects.md is a file, and is executed. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { outcomeValue, waitOf } from "../../src/core/wait-value.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { decision } from "../support/tool-graphs.ts";
import { bookingDesk } from "./graphs/effects.ts";

type Mood = "answers" | "loses its answers" | "is full";

/** A hotel that remembers what it was asked for. */
async function openHotel(mood: Mood) {
  const booked = new Map<string, string>();
  let asked = 0;
  const server = createServer((request, response) => {
    const [, , token] = (request.url ?? "").split("/");
    const found = booked.get(token ?? "");
    if (request.method === "GET") return void response.writeHead(found ? 200 : 404).end(found);
    asked++;
    if (mood === "is full") return void response.writeHead(409).end();
    booked.set(String(request.headers["idempotency-key"]), `B-${booked.size + 1}`);
    if (mood === "loses its answers") return void request.socket.destroy();
    response.end(`B-${booked.size}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens
  return {
    url: `http://127.0.0.1:${port}`,
    booked,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describe("the example of docs/effects.md", () => {
  it("is the file that is executed here", async () => {
    const [docs, file] = await Promise.all(
      ["../../docs/effects.md", "./graphs/effects.ts"].map((path) => readFile(new URL(path, import.meta.url), "utf8")),
    );
    expect(docs).toContain(`\`\`\`ts\n${file}\`\`\`\n`);
  });

  it.each(["answers", "loses its answers"] as const)("books once where the hotel %s", async (mood) => {
    await using hotel = await openHotel(mood);
    const thread = new DrivenThread(bookingDesk(hotel.url));
    expect((await thread.invoke({ room: "12" })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ told: "booked: B-1" });
    expect([hotel.booked.size, hotel.asked()]).toEqual([1, 1]);
  });

  it("tries again where it is refused, under another token, and asks a person at last", async () => {
    await using hotel = await openHotel("is full");
    const thread = new DrivenThread(bookingDesk(hotel.url));
    let last = await thread.invoke({ room: "12" });
    const kinds: string[] = [];
    for (let [asked] = interruptsOf(last.outcome); asked; [asked] = interruptsOf(last.outcome)) {
      const isTimer = waitOf(asked.value) !== undefined;
      kinds.push(isTimer ? "timer" : "review");
      const answer = isTimer ? outcomeValue({ kind: "fired" }) : decision(asked.value, { type: "reject" });
      last = await thread.resume({ [asked.id]: answer }, isTimer ? { run: last.run } : {});
    }
    expect([last.outcome, kinds]).toEqual([{ kind: "done" }, ["timer", "timer", "review"]]);
    expect(await valuesOf(thread)).toMatchObject({ told: "no 12" });
    expect([hotel.booked.size, hotel.asked()]).toEqual([0, 3]);
  });
});

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { DEFAULT_LIMITS } from "../../src/http/limits.ts";
import { openEventStream } from "../../src/http/sse.ts";

const EVENTS = 500;
const READERS = 4;

describe("an event stream", () => {
  it("lets others have their turns, although its reader takes everything at once", async () => {
    let turns = 0;
    let most = 0;
    let sinceTurn = 0;
    const app = express().get("/", async (_, response) => {
      const stream = openEventStream(response, systemClock, DEFAULT_LIMITS);
      for (let n = 0; n < EVENTS; n++) {
        await stream.send({ event: "x", data: n });
        most = Math.max(most, ++sinceTurn);
      }
      stream.end();
    });
    await using server = createServer(app);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const answers = Promise.all(
      Array.from({ length: READERS }, async () => (await fetch(`http://127.0.0.1:${port}/`)).text()),
    );
    let isOver = false;
    const count = (): void => {
      turns++;
      sinceTurn = 0;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    const texts = await answers;
    isOver = true;
    await sleep(1);
    for (const text of texts) expect(text.match(/^event: x$/gm)).toHaveLength(EVENTS);
    expect(turns).toBeGreaterThanOrEqual(EVENTS);
    // Each reader has one event at most between two turns of the others, or two where a turn has just begun.
    expect(most).toBeLessThanOrEqual(2 * READERS);
  });
});

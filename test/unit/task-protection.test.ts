import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEcsTaskProtection } from "../../src/aws/task-protection.ts";
import type { EcsTaskProtection } from "../../src/aws/task-protection.ts";
import type { TaskProtection } from "../../src/runtime/worker/task-protection.ts";
import { eventually } from "../support/eventually.ts";
import { createMemoryLog, listen } from "../support/http.ts";
import type { Listening } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";

const MINUTE = 60_000;

interface Asked {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly body: { readonly ProtectionEnabled: boolean; readonly ExpiresInMinutes?: number };
}

let clock: ManualClock;
let log: ReturnType<typeof createMemoryLog>;
let agent: Listening;
let asked: Asked[];
/** What the agent answers; `silence` for nothing at all. */
let answer: ((body: Asked["body"]) => unknown) | "silence";
let protection: EcsTaskProtection;

beforeEach(async () => {
  clock = createManualClock();
  log = createMemoryLog();
  asked = [];
  answer = ({ ProtectionEnabled }) => ({ protection: { ProtectionEnabled, TaskArn: "arn" } });
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const body = JSON.parse(text) as Asked["body"];
      asked.push({ method: request.method, path: request.url, body });
      if (answer !== "silence") response.end(JSON.stringify(answer(body)));
    });
  });
  agent = await listen(server);
  protection = createEcsTaskProtection({ agentUri: `${agent.url}/api/token`, clock, log });
});
afterEach(async () => {
  await agent[Symbol.asyncDispose]();
});

const states = (): readonly boolean[] => asked.map(({ body }) => body.ProtectionEnabled);
/** Gives whatever would be sent, and its answer, the time to be. */
const moment = () => new Promise((resolve) => setTimeout(resolve, 20));
/** The adapter has asked so often, and knows the last answer. */
async function settled(times: number): Promise<void> {
  await eventually(() => asked.length === times, `${times} requests`);
  await moment();
}

it("serves the runtime's port", () => {
  const port: TaskProtection = protection;
  expect(port).toBe(protection);
});

describe("protection", () => {
  it("is asked for when work begins, without anybody waiting for it", async () => {
    await moment();
    expect(asked).toEqual([]);
    answer = "silence";
    protection.busy();
    expect(asked).toEqual([]);
    await eventually(() => asked.length === 1);
    expect(asked[0]).toEqual({
      method: "PUT",
      path: "/api/token/task-protection/v1/state",
      body: { ProtectionEnabled: true, ExpiresInMinutes: 10 },
    });
  });

  it("is renewed at half its life as long as there is work", async () => {
    protection.busy();
    for (let renewals = 1; renewals <= 3; renewals++) {
      await settled(renewals);
      clock.advance(5 * MINUTE - 1);
      await moment();
      expect(asked).toHaveLength(renewals);
      clock.advance(1);
    }
    await settled(4);
    expect(states()).toEqual([true, true, true, true]);
  });

  it("is given up half a minute after the last work", async () => {
    protection.busy();
    await settled(1);
    protection.idle();
    clock.advance(29_999);
    await moment();
    expect(states()).toEqual([true]);
    clock.advance(1);
    await eventually(() => asked.length === 2);
    expect(asked[1]?.body).toEqual({ ProtectionEnabled: false });
    clock.advance(60 * MINUTE);
    await moment();
    expect(asked).toHaveLength(2);
    protection.busy();
    await settled(3);
    expect(states()).toEqual([true, false, true]);
  });

  it("stays through the pauses between runs, and is renewed all the same", async () => {
    protection.busy();
    await settled(1);
    for (let gone = 0; gone < 5 * MINUTE; gone += 20_000) {
      protection.idle();
      await eventually(() => clock.sleepers() === 1);
      clock.advance(10_000);
      protection.busy();
      protection.busy();
      await eventually(() => clock.sleepers() === 1);
      clock.advance(10_000);
    }
    await settled(2);
    expect(states()).toEqual([true, true]);
  });

  it("is given up when the process ends", async () => {
    protection.busy();
    await settled(1);
    await protection[Symbol.asyncDispose]();
    expect(states()).toEqual([true, false]);
  });
});

describe("an agent that does not do it", () => {
  const REASON = { failure: { Reason: "DEPLOYMENT_BLOCKED" } };

  it.each([
    ["refuses", () => REASON, "DEPLOYMENT_BLOCKED"],
    ["fails", () => ({ error: { Code: "AccessDeniedException", Message: "no" } }), "AccessDeniedException: no"],
    ["says nothing to the point", () => ({}), "the agent did not say that it was done"],
  ])("and %s is one warning, asked again after half a minute", async (_how, refusal, reason) => {
    answer = refusal;
    protection.busy();
    for (let times = 1; times <= 15; times++) {
      await settled(times);
      clock.advance(30_000);
    }
    await settled(16);
    expect(log.lines.map(({ level, fields }) => [level, fields["reason"]])).toEqual([["warn", reason]]);
    answer = ({ ProtectionEnabled }) => ({ protection: { ProtectionEnabled } });
    clock.advance(30_000);
    await settled(17);
    clock.advance(30_000);
    await moment();
    expect(asked).toHaveLength(17);
  });

  it("and stays refused for long is one warning in ten minutes", async () => {
    answer = () => REASON;
    protection.busy();
    for (let times = 1; times <= 21; times++) {
      await settled(times);
      clock.advance(30_000);
    }
    await settled(22);
    expect(log.lines).toHaveLength(2);
  });

  it("and gives no answer is waited for five seconds, by nobody else", async () => {
    answer = "silence";
    protection.busy();
    await eventually(() => asked.length === 1);
    clock.advance(5000);
    await eventually(() => log.lines.length === 1);
    expect(log.lines[0]?.fields).toEqual({ reason: "no answer within 5000 ms" });
  });

  it("and is not there at all is one warning", async () => {
    await agent[Symbol.asyncDispose]();
    protection.busy();
    await eventually(() => log.lines.length === 1);
    await protection[Symbol.asyncDispose]();
    expect(log.lines).toHaveLength(1);
    agent = await listen(createServer());
  });
});

/** Every status is told as what the names of metrics say that runs come to, or not at all. */
import { expect, it } from "vitest";
import type { Run, RunStatus } from "../../src/core/run.ts";
import { tellEnded } from "../../src/runtime/tell-ended.ts";
import { METRICS, RUN_OUTCOMES } from "../../src/telemetry/metric-names.ts";
import { noTelemetry } from "../../src/telemetry/open-telemetry.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";

/** All there are: a status that is new must be said here. */
const STATUSES: Readonly<Record<RunStatus, true>> = {
  pending: true,
  running: true,
  waiting: true,
  success: true,
  held: true,
  error: true,
  timeout: true,
  cancelled: true,
  parked: true,
  refused: true,
};

it("tells each outcome of the list, and no other", async () => {
  const told: string[] = [];
  const telemetry = { ...noTelemetry, metrics: { ...noTelemetry.metrics, runEnded: outcomeInto(told) } };
  const run = await createKit().runtime.runs.accept(ALICE, inputFor(undefined));
  const ended = { ...run, end: { at: run.createdAt + 1 } };
  for (const status of Object.keys(STATUSES))
    tellEnded({ telemetry }, { ...ended, status: status as RunStatus } as Run);
  expect(told).toEqual(RUN_OUTCOMES);
});

const outcomeInto =
  (told: string[]) =>
  ({ outcome }: { readonly outcome: string }): void =>
    void told.push(outcome);

it("are all that the description names", () => {
  const [, said = ""] = /by outcome: (.*)\.$/.exec(METRICS.runsEnded.description) ?? [];
  expect(said.split(/, | or /)).toEqual(RUN_OUTCOMES);
});

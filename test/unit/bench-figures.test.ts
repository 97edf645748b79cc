import { describe, expect, it, vi } from "vitest";
import { report } from "../../bench/support/figures.ts";
import type { Figure } from "../../bench/support/figures.ts";
import { createVirtualClock } from "../../bench/support/virtual-clock.ts";

function reported(figure: Partial<Figure>): { readonly code: number; readonly said: string } {
  const said: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((text: string) => void said.push(text));
  const code = report([{ what: "units", value: 5, unit: "", ...figure }]);
  log.mockRestore();
  return { code, said: said.join("\n") };
}

describe("the report of a benchmark", () => {
  it("fails when a bar is missed, in either direction", () => {
    const { code, said } = reported({ bar: { atMost: 4 } });
    expect(code).toBe(1);
    expect(said).toContain("MISSED");
    expect(reported({ bar: { atLeast: 6 } }).code).toBe(1);
  });

  it("fails when there is no value where one is demanded", () => {
    expect(reported({ value: Number.NaN, bar: { atMost: 4 } }).code).toBe(1);
  });

  it("does not fail over an aim, nor where nothing is demanded", () => {
    expect(reported({ bar: { atMost: 6 }, aim: { atMost: 4 } }).code).toBe(0);
    expect(reported({}).code).toBe(0);
  });

  it("shows a bar that was missed by noise, says so, and does not fail", () => {
    const { code, said } = reported({ bar: { atMost: 4 }, noisy: true });
    expect(code).toBe(0);
    expect(said).toContain("MISSED (noise)");
  });
});

describe("the virtual clock of a benchmark", () => {
  it("passes only while everything sleeps, and wakes sleepers in their order", async () => {
    const clock = createVirtualClock();
    const woken: string[] = [];
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms);
      woken.push(`${name} ${clock.monotonic()}`);
    };
    await clock.run(Promise.all([sleeper("late", 60_000), sleeper("early", 50)]));
    expect(woken).toEqual(["early 50", "late 60000"]);
  });

  it("wakes a sleeper whose signal aborts without letting time pass", async () => {
    const clock = createVirtualClock();
    const stop = new AbortController();
    const sleeping = clock.sleep(1000, stop.signal);
    stop.abort();
    await sleeping;
    expect(clock.monotonic()).toBe(0);
  });
});

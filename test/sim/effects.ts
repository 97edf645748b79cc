import type { Deps } from "../../src/runtime/deps.ts";
import type { Drive } from "../../src/langgraph/drive.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler } from "./scheduler.ts";
import type { ScriptHost } from "./script.ts";

/** The world outside, which remembers every effect, under the journal of the product. */
export function performEffect(recorder: Recorder, scheduler: Scheduler): (deps: Deps) => ScriptHost["effect"] {
  return (deps) => async (drive: Drive, { ms }) => {
    await deps.clock.sleep(ms, drive.signal);
    void recorder;
    void scheduler;
  };
}

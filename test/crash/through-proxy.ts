/** An engine with a proxy between its table and all processes, which does this to their traffic. */
import { startDroppingProxy } from "../support/dropping-proxy.ts";
import type { Fate, Passing } from "../support/dropping-proxy.ts";
import type { Fleet, FleetEngine } from "../support/fleet.ts";

/** `fateOf` is also told where the fleet keeps its files. */
export function throughProxy(
  engine: FleetEngine,
  fateOf: (passing: Passing, dataDir: string) => Fate | undefined,
): FleetEngine {
  return {
    ...engine,
    async open(env) {
      await using opening = new AsyncDisposableStack();
      const fleet = opening.use(await engine.open(env));
      const { place, dataDir } = fleet;
      if (place.kind === "sqlite") throw new Error("SQLite has no traffic");
      const proxy = opening.use(await startDroppingProxy(place.endpoint, (passing) => fateOf(passing, dataDir)));
      const start: Fleet["start"] = (options) =>
        fleet.start({ ...options, env: { ...options.env, DYNAMODB_ENDPOINT: proxy.endpoint } });
      const opened = opening.move();
      return { ...fleet, start, [Symbol.asyncDispose]: () => opened.disposeAsync() };
    },
  };
}

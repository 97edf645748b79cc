/** What tasks are told is what src/settings.ts knows, and means what it should. */
import { describe, expect, it } from "vitest";
import { SETTINGS, readConfig } from "../../src/config.ts";
import { REFUSED } from "../lib/settings.ts";
import { LEFT_OUT } from "../lib/task-environment.ts";
import { containers } from "./infra-kit.ts";
import type { Container } from "./infra-kit.ts";

/** Settings that are no matter of how it is deployed, but of its size: the defaults hold unless an environment says otherwise. */
const isLimit = (name: string): boolean =>
  /^HOLDPOINT_(MAX_|RUN_TIMEOUT|NODE_TIMEOUT|TENANT_CONCURRENCY|GRAPH_WAIT|EVENT_RETENTION|DATA_KEY_MS|LEASE_MS|LOG_LEVEL|CONCURRENCY)/.test(
    name,
  );

const isExplained = (name: string): boolean => Object.hasOwn(LEFT_OUT, name) || Object.hasOwn(REFUSED, name);

const namesOf = ({ Environment = [], Secrets = [] }: Container): readonly string[] =>
  [...Environment, ...Secrets].map(({ Name }) => Name);

/** The environment with texts where a template has references. */
const envOf = ({ Environment = [] }: Container): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Environment.map(({ Name, Value }) => [
      Name,
      typeof Value === "string"
        ? Value
        : JSON.stringify(Value)
            .toLowerCase()
            .replaceAll(/[^a-z0-9]/g, "-")
            .replaceAll(/^-+|-+$/g, "")
            .slice(0, 60),
    ]),
  );

const services = (role: string) =>
  containers().filter(({ Name, at }) => Name === "holdpoint" && at.includes(`/${role}Task`));

describe("the environment of tasks", () => {
  it("has no name that the service does not know", () => {
    const known = new Set(SETTINGS.map(({ name }) => name));
    const told = [...services("Api"), ...services("Worker")].flatMap(namesOf);
    expect(told.length).toBeGreaterThan(40);
    expect(told.filter((name) => !known.has(name) && !name.startsWith("OTEL_"))).toEqual([]);
  });

  it("has every setting, or says why not", () => {
    const told = new Set([...services("Api"), ...services("Worker")].flatMap(namesOf));
    const known = SETTINGS.map(({ name }) => name);
    const missing = known.filter((name) => !told.has(name) && !isLimit(name) && !isExplained(name));
    // Give it to tasks in infra/lib/task-environment.ts, or say there or in settings.ts why they go without.
    expect(missing).toEqual([]);
    expect(Object.keys(LEFT_OUT).filter((name) => told.has(name))).toEqual([]);
    expect([...Object.keys(LEFT_OUT), ...Object.keys(REFUSED)].filter((name) => !known.includes(name))).toEqual([]);
  });

  it("has nothing of the stacks that an environment's settings could have as well", () => {
    const told = [...services("Api"), ...services("Worker")].flatMap(namesOf);
    expect(told.filter((name) => !name.startsWith("OTEL_") && !Object.hasOwn(REFUSED, name))).toEqual([]);
  });

  it.each(["Api", "Worker"])("is understood by the service: %s", (role) => {
    for (const container of services(role)) {
      const read = readConfig(["start"], envOf(container));
      if (read.kind !== "run") throw new Error("it asks for help");
      const { config } = read;
      expect(config).toMatchObject({
        mode: "start",
        role: role.toLowerCase(),
        host: "0.0.0.0",
        port: 8080,
        dataDir: "/var/lib/holdpoint",
      });
      expect(config.dynamo?.endpoint).toBeUndefined();
      expect(config.s3?.bucket).toBeDefined();
      expect(config.encryption).toMatchObject({ required: true, localKeys: [] });
      // The api is reached from elsewhere, and so must know its callers; a worker serves nobody.
      expect(config.keysFile).toBe(role === "Api" ? "/run/holdpoint/keys.json" : undefined);
    }
  });

  it("has no secret in plain sight", () => {
    for (const { at, Environment = [] } of containers()) {
      expect([
        at,
        Environment.filter(({ Name }) => /KEYS$|SECRET|TOKEN|PASSWORD|AES/.test(Name)).map(({ Value }) => Value),
      ]).toEqual([at, at.endsWith("holdpoint") && at.includes("Api") ? ["/run/holdpoint/keys.json"] : []]);
    }
  });
});

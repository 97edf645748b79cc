import { describe, expect, it } from "vitest";
import { SETTINGS, isLoopback, readConfig } from "../../src/config.ts";
import { isHoldpointError } from "../../src/core/errors.ts";

function configOf(argv: readonly string[], env: Record<string, string> = {}) {
  const read = readConfig(argv, env);
  if (read.kind === "help") throw new Error("help was shown");
  return read.config;
}

function refusalOf(argv: readonly string[], env: Record<string, string> = {}): string {
  try {
    readConfig(argv, env);
  } catch (error) {
    if (isHoldpointError(error, "invalid")) return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

describe("configuration", () => {
  it("is embedded, on loopback, in all roles when nothing is said", () => {
    expect(configOf([])).toMatchObject({
      mode: "start",
      role: "all",
      host: "127.0.0.1",
      port: 2024,
      dataDir: ".holdpoint",
      graphsFile: "langgraph.json",
      dynamo: undefined,
      pool: "default",
      leaseMs: 5000,
      shards: 1,
    });
  });

  it("obeys the environment, and flags win over it", () => {
    const env = { HOLDPOINT_PORT: "3000", HOLDPOINT_ROLE: "api", HOLDPOINT_CONFIG: "a.json" };
    expect(configOf(["dev", "--port", "4000", "--config=b.json"], env)).toMatchObject({
      mode: "dev",
      port: 4000,
      role: "api",
      graphsFile: "b.json",
    });
  });

  it("takes longer leases and more partitions on DynamoDB, where many machines meet", () => {
    expect(configOf([], { HOLDPOINT_TABLE: "runs", AWS_REGION: "eu-west-1" })).toMatchObject({
      dynamo: { tableName: "runs", endpoint: undefined, region: "eu-west-1" },
      leaseMs: 30_000,
      shards: 4,
    });
    expect(configOf(["--lease-ms", "1000"], { HOLDPOINT_TABLE: "runs" }).leaseMs).toBe(1000);
  });

  it("treats a variable that is set to nothing as not set", () => {
    expect(configOf([], { HOLDPOINT_TABLE: "", DYNAMODB_ENDPOINT: "", HOLDPOINT_PORT: "" })).toMatchObject({
      port: 2024,
      dynamo: undefined,
    });
  });

  it.each([
    [["--port", "http"], {}, "--port: a whole number from 0 to 65535 is expected (see --help)"],
    [["--port", "70000"], {}, "--port: a whole number from 0 to 65535 is expected (see --help)"],
    [
      [],
      { HOLDPOINT_ROLE: "boss" },
      'HOLDPOINT_ROLE: Invalid option: expected one of "api"|"worker"|"all" (see --help)',
    ],
    [["--colour"], {}, "Unknown option '--colour' (see --help)"],
    [["serve"], {}, "Unknown command 'serve': use dev or start (see --help)"],
    [["dev", "now"], {}, "Unexpected argument 'now' (see --help)"],
    [
      [],
      { DYNAMODB_ENDPOINT: "http://127.0.0.1:8000" },
      "DYNAMODB_ENDPOINT is set but HOLDPOINT_TABLE is not: name the table, or unset the endpoint",
    ],
  ] as const)("refuses %j %j with one line that names what is wrong", (argv, env, message) => {
    expect(refusalOf(argv, env)).toBe(message);
  });

  it("describes every setting in --help", () => {
    const read = readConfig(["--help"], {});
    if (read.kind !== "help") throw new Error("no help");
    expect(SETTINGS.filter((setting) => setting.description === "")).toEqual([]);
    for (const setting of SETTINGS) {
      expect(read.text).toContain(setting.name);
      expect(read.text).toContain(setting.description);
    }
  });

  it("knows the names of this machine only", () => {
    expect(["localhost", "127.0.0.1", "127.1.2.3", "::1"].map(isLoopback)).toEqual([true, true, true, true]);
    expect(["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"].some(isLoopback)).toBe(false);
  });
});

import { describe, expect, it } from "vitest";
import { SETTINGS, isLoopback, readConfig, unknownSettings } from "../../src/config.ts";
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

  it("knows of no variable that is misspelt, and leaves those of others alone", () => {
    const env = { HOLDPOINT_PORTT: "1", HOLDPOINT_PORT: "1", AWS_REGION: "eu-central-1", PATH: "/bin" };
    expect(unknownSettings(env)).toEqual(["HOLDPOINT_PORTT"]);
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

  it("keeps bodies in a bucket, and encrypts, when it is told to", () => {
    expect(configOf([], { HOLDPOINT_TABLE: "runs" })).toMatchObject({ s3: undefined, encryption: undefined });
    const table = { HOLDPOINT_TABLE: "runs", AWS_REGION: "eu-west-1" };
    const s3 = { bucket: "bodies", kmsKeyId: undefined, endpoint: undefined, region: "eu-west-1" };
    expect(configOf([], { ...table, HOLDPOINT_BUCKET: "bodies" }).s3).toEqual({ ...s3, prefix: "" });
    expect(configOf([], { ...table, HOLDPOINT_BUCKET: "bodies/a/b//" }).s3).toEqual({ ...s3, prefix: "a/b/" });
    const local = { S3_ENDPOINT: "http://127.0.0.1:9000", HOLDPOINT_BUCKET_KMS_KEY_ID: "k" };
    expect(configOf([], { HOLDPOINT_TABLE: "runs", HOLDPOINT_BUCKET: "bodies", ...local }).s3).toEqual({
      ...s3,
      prefix: "",
      endpoint: "http://127.0.0.1:9000",
      region: "us-east-1",
      kmsKeyId: "k",
    });
    const keys = { HOLDPOINT_ENCRYPTION_KEYS: "new, old", LANGGRAPH_AES_KEY: "oldest, with a comma" };
    expect(configOf([], { ...keys, HOLDPOINT_ENCRYPTION_REQUIRED: "true" }).encryption).toEqual({
      kms: undefined,
      localKeys: ["new", "old", "oldest, with a comma"],
      required: true,
      dataKeyMs: 86_400_000,
    });
    const kms = { HOLDPOINT_KMS_KEY_ID: "k", KMS_ENDPOINT: "http://127.0.0.1:9001", HOLDPOINT_DATA_KEY_MS: "60000" };
    expect(configOf([], kms).encryption).toEqual({
      kms: { keyId: "k", endpoint: "http://127.0.0.1:9001", region: "us-east-1" },
      localKeys: [],
      required: false,
      dataKeyMs: 60_000,
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
    [
      [],
      { HOLDPOINT_BUCKET: "bodies" },
      "HOLDPOINT_BUCKET is set but HOLDPOINT_TABLE is not: name the table, or unset the bucket",
    ],
    [
      [],
      { S3_ENDPOINT: "http://127.0.0.1:9000" },
      "S3_ENDPOINT is set but HOLDPOINT_BUCKET is not: name the bucket, or unset the endpoint",
    ],
    [
      [],
      { HOLDPOINT_TABLE: "runs", HOLDPOINT_BUCKET: "My Bucket" },
      "HOLDPOINT_BUCKET: the name of a bucket is expected, or name/prefix (see --help)",
    ],
    [
      [],
      { HOLDPOINT_ENCRYPTION_REQUIRED: "true" },
      "HOLDPOINT_ENCRYPTION_REQUIRED is true but there is no key: set HOLDPOINT_KMS_KEY_ID or HOLDPOINT_ENCRYPTION_KEYS",
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

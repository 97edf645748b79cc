import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import { keyAuthenticator, loopbackAuthenticator } from "../../src/http/auth.ts";
import { openKeyFile, readKeyFile, writeKeyFile } from "../../src/local/key-file.ts";
import { emptyKeyFile, withNewKey, withoutKey } from "../../src/storage/api-keys.ts";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import { createTestKeys, startApp } from "../support/http.ts";
import type { TestApp, TestKey } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { rawRequest } from "../support/raw-request.ts";

const START = { json: { assistant_id: "a" } };
const DAY_MS = 24 * 3_600_000;

async function appWith(
  keys: readonly TestKey[],
  clock = createManualClock(),
): Promise<{ readonly app: TestApp; readonly texts: readonly string[] }> {
  const { apiKeys, texts } = createTestKeys(keys, clock);
  const app = await startApp({ runtime: createFakeRuntime().runtime, auth: keyAuthenticator(apiKeys) });
  return { app, texts };
}

const callWith = (app: TestApp, headers: Record<string, string>, path = "/runs") =>
  app.call("POST", path, { ...START, as: "nobody", headers });

describe("an API key", () => {
  const alice: TestKey = { tenant: "acme", subject: "alice", roles: ["developer"] };

  it("is taken as x-api-key or as a bearer token", async () => {
    const { app, texts } = await appWith([alice]);
    await using _ = app;
    const [key = ""] = texts;
    expect(key).toMatch(/^hp_test_[0-9a-f]{16}_[0-9a-f]{64}$/);
    expect((await callWith(app, { "x-api-key": key })).status).toBe(200);
    expect((await callWith(app, { authorization: `Bearer ${key}` })).status).toBe(200);
  });

  it("that is missing, wrong, cut, or of nobody is refused in the same words", async () => {
    const { app, texts } = await appWith([alice]);
    await using _ = app;
    const [key = ""] = texts;
    const wrong = key.slice(0, -1) + (key.endsWith("0") ? "1" : "0");
    const answers = await Promise.all(
      [
        {},
        { "x-api-key": wrong },
        { "x-api-key": key.slice(0, -1) },
        { "x-api-key": "hp_test_0000000000000000_x" },
        { authorization: "Basic x" },
      ].map(async (headers) => {
        const response = await callWith(app, headers);
        return [response.status, ((await response.json()) as { readonly detail: string }).detail] as const;
      }),
    );
    expect(new Set(answers.map(String)).size).toBe(1);
    expect(answers[0]?.[0]).toBe(401);
    expect(JSON.stringify(app.log.lines)).not.toContain(key.slice(-20));
  });

  it("ends when it expires", async () => {
    const clock = createManualClock();
    const { app, texts } = await appWith([{ ...alice, expiresAt: clock.wall() + DAY_MS }], clock);
    await using _ = app;
    const headers = { "x-api-key": texts[0] ?? "" };
    clock.advance(DAY_MS - 1);
    expect((await callWith(app, headers)).status).toBe(200);
    clock.advance(1);
    expect((await callWith(app, headers)).status).toBe(401);
  });

  it("allows what its roles allow, and nothing by default", async () => {
    const roles = ["viewer", "developer", "reviewer", "operator", "auditor", "admin"] as const;
    const { app, texts } = await appWith(roles.map((role) => ({ tenant: "acme", subject: role, roles: [role] })));
    await using _ = app;
    const statuses = await Promise.all(
      texts.map(async (key) => {
        const headers = { "x-api-key": key };
        const start = await callWith(app, headers);
        const decide = await app.call("POST", "/v1/reviews/x/decisions", {
          json: { type: "approve", digest: "d" },
          as: "nobody",
          headers,
        });
        const read = await app.call("GET", "/v1/reviews", { as: "nobody", headers });
        return [start.status, decide.status, read.status];
      }),
    );
    expect(Object.fromEntries(roles.map((role, i) => [role, statuses[i]]))).toEqual({
      viewer: [403, 403, 200],
      developer: [200, 403, 200],
      reviewer: [403, 200, 200],
      operator: [200, 403, 200],
      auditor: [403, 403, 200],
      admin: [200, 200, 200],
    });
  });

  it("that may only read may not cancel by going away", async () => {
    const { app, texts } = await appWith([alice, { tenant: "acme", subject: "viewer", roles: ["viewer"] }]);
    await using _ = app;
    const started = await callWith(
      app,
      { "x-api-key": texts[0] ?? "" },
      "/threads/0190c3a0-0000-7000-8000-000000000001/runs",
    );
    const run = (await started.json()) as { readonly run_id: string; readonly thread_id: string };
    const path = `/threads/${run.thread_id}/runs/${run.run_id}/join`;
    const headers = { "x-api-key": texts[1] ?? "" };
    expect((await app.call("GET", path, { as: "nobody", headers })).status).toBe(200);
    expect((await app.call("GET", `${path}?cancel_on_disconnect=true`, { as: "nobody", headers })).status).toBe(403);
  });
});

describe("without keys", () => {
  const local = (): Promise<TestApp> =>
    startApp({
      runtime: createFakeRuntime().runtime,
      auth: loopbackAuthenticator({ origins: ["https://studio.example"] }),
    });

  it("this machine is served, whatever key it sends", async () => {
    await using app = await local();
    expect((await callWith(app, {})).status).toBe(200);
    expect((await callWith(app, { "x-api-key": "whatever" })).status).toBe(200);
  });

  it.each([
    ["localhost:2024", 200],
    ["127.0.0.1", 200],
    ["127.8.9.10:1", 200],
    ["[::1]:2024", 200],
    ["agent.localhost", 200],
    ["evil.example", 403],
    ["127.0.0.1.evil.example", 403],
    ["localhost.evil.example:2024", 403],
    ["169.254.169.254", 403],
    ["", 403],
  ])("a request for host %j is answered %i, also on open routes", async (host, status) => {
    await using app = await local();
    for (const path of ["/threads/x/state", "/info", "/ok"]) {
      const answer = await rawRequest(app.url, { path, headers: { host } });
      // An unreadable thread id is 422 for whoever is let in.
      expect(answer.status).toBe(status === 200 && path.startsWith("/threads") ? 422 : status);
    }
  });

  it.each([
    ["http://localhost:3000", 200],
    ["https://studio.example", 200],
    ["https://evil.example", 403],
    ["null", 403],
  ])("a web page of %s is answered %i", async (origin, status) => {
    await using app = await local();
    const headers = { origin, "content-type": "text/plain" };
    expect((await app.call("POST", "/runs", { body: '{"assistant_id":"a"}', headers, as: "nobody" })).status).toBe(
      status,
    );
  });
});

describe("the file of keys", () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "holdpoint-keys-"));
    path = join(dir, "keys.json");
  });
  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  const newKey = { env: "live", tenant: "acme", subject: "alice", roles: ["admin"], groups: ["g"], createdAt: 0 };

  it("holds no key, only what recognises it, and is its owner's alone", async () => {
    const made = withNewKey(emptyKeyFile(systemIds), systemIds, newKey);
    await writeFile(path, "old");
    await chmod(path, 0o644);
    await writeKeyFile(path, made.file, systemIds);
    const text = await readFile(path, "utf8");
    expect(text).not.toContain(made.key.split("_").at(-1));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readKeyFile(path)).toEqual(made.file);
  });

  it("bears no name under which policies and time decide", () => {
    for (const subject of ["policy:small@1", "holdpoint:time"])
      expect(() => withNewKey(emptyKeyFile(systemIds), systemIds, { ...newKey, subject })).toThrow(/no person/);
  });

  it("is read again when it changes, once a second at most", async () => {
    const clock = createManualClock();
    const errors: unknown[] = [];
    const first = withNewKey(emptyKeyFile(systemIds), systemIds, newKey);
    await writeKeyFile(path, first.file, systemIds);
    const keys = await openKeyFile({ path, clock, onInvalid: (error) => errors.push(error) });
    expect(await keys.verify(first.key)).toEqual({ tenant: "acme", subject: "alice", roles: ["admin"], groups: ["g"] });

    const second = withNewKey(first.file, systemIds, { ...newKey, subject: "bob" });
    await writeKeyFile(path, withoutKey(second.file, first.file.keys[0]?.id ?? "") ?? second.file, systemIds);
    clock.advance(999);
    expect(await keys.verify(first.key)).toBeDefined();
    clock.advance(1);
    expect(await keys.verify(first.key)).toBeUndefined();
    expect(await keys.verify(second.key)).toMatchObject({ subject: "bob" });

    await writeFile(path, "{ half a fil");
    clock.advance(1_000);
    expect(await keys.verify(second.key)).toMatchObject({ subject: "bob" });
    expect(errors).toHaveLength(1);

    await rm(path);
    clock.advance(1_000);
    await expect(keys.verify(second.key)).rejects.toMatchObject({ code: "unavailable" });
  });

  it("is refused at once when it is none", async () => {
    await writeFile(path, '{"version":1,"pepper":"short","keys":[]}');
    await expect(openKeyFile({ path, clock: createManualClock(), onInvalid: () => {} })).rejects.toMatchObject({
      code: "invalid",
    });
  });

  it("is made, shown and changed by the script", async () => {
    const script = join(import.meta.dirname, "../../scripts/keys.ts");
    const run = async (...args: string[]) => promisify(execFile)(process.execPath, [script, ...args, "--file", path]);
    const created = await run(
      "create",
      "--tenant",
      "acme",
      "--subject",
      "alice",
      "--roles",
      "reviewer,developer",
      "--groups",
      "payments-reviewers",
      "--expires-days",
      "30",
    );
    const key = created.stdout.trim();
    const id = key.split("_")[2] ?? "";
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const listed = await run("list");
    expect(listed.stdout).toContain(`${id}\tlive\tacme\talice\treviewer,developer\tpayments-reviewers\texpires 2`);
    expect(listed.stdout).not.toContain(key);

    const keys = await openKeyFile({ path, clock: { ...createManualClock(Date.now()) }, onInvalid: () => {} });
    expect(await keys.verify(key)).toMatchObject({ tenant: "acme", groups: ["payments-reviewers"] });
    await run("revoke", id);
    expect((await run("list")).stdout).toContain("revoked");
    await expect(run("create", "--tenant", "acme", "--subject", "x", "--roles", "king")).rejects.toMatchObject({
      code: 1,
    });
    await expect(run("revoke", "0000000000000000")).rejects.toMatchObject({ code: 1 });
  });
});

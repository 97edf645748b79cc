/** Wrapping keys in KMS, through the real SDK, against a server on loopback that keeps the service's rules. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKmsKeys } from "../../src/aws/kms-keys.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { WrappingKeys } from "../../src/storage/encryption/wrapping-keys.ts";
import { startFakeKms } from "../support/fake-kms.ts";
import type { FakeKms, KmsFault } from "../support/fake-kms.ts";

const acme = tenantId("acme");
let kms: FakeKms;
let arn: string;
let keys: WrappingKeys & Disposable;

const open = (keyId: string): WrappingKeys & Disposable =>
  createKmsKeys({ keyId, region: "us-east-1", endpoint: kms.endpoint, maxAttempts: 3, requestTimeoutMs: 300 });
beforeEach(async () => {
  kms = await startFakeKms();
  arn = kms.createKey("first");
  keys = open("first");
});
afterEach(async () => {
  keys[Symbol.dispose]();
  await kms[Symbol.asyncDispose]();
});

describe("data keys from KMS", () => {
  it("have 32 bytes, are wrapped by the key that made them, and unwrap to themselves", async () => {
    const { key, ...wrapped } = await keys.newDataKey(acme);
    expect(key).toHaveLength(32);
    expect(wrapped.wrappedBy).toBe(arn);
    expect(keys.owns(wrapped.wrappedBy)).toBe(true);
    expect(keys.owns("local:0011")).toBe(false);
    expect(await keys.unwrap(acme, wrapped)).toEqual(key);
    const { key: other } = await keys.newDataKey(acme);
    expect(other).not.toEqual(key);
    expect(kms.seen.map(({ body }) => body.EncryptionContext)).toEqual(
      Array.from({ length: 3 }, () => ({ tenant: "acme" })),
    );
  });

  it("unwrap for their tenant only", async () => {
    const wrapped = await keys.newDataKey(acme);
    await expect(keys.unwrap(tenantId("globex"), wrapped)).rejects.toMatchObject({
      code: "corrupt",
      message: expect.stringContaining("InvalidCiphertextException") as string,
    });
  });

  it("unwrap only with the key that is named beside them, and whole", async () => {
    const wrapped = await keys.newDataKey(acme);
    const wrappedBy = kms.createKey("second");
    await expect(keys.unwrap(acme, { ...wrapped, wrappedBy })).rejects.toMatchObject({ code: "corrupt" });
    const cut = wrapped.wrapped.subarray(0, -1);
    await expect(keys.unwrap(acme, { ...wrapped, wrapped: cut })).rejects.toMatchObject({ code: "corrupt" });
  });

  it("made by an earlier key unwrap after the setting names another", async () => {
    const wrapped = await keys.newDataKey(acme);
    kms.createKey("second");
    using later = open("second");
    expect(await later.unwrap(acme, wrapped)).toEqual(wrapped.key);
    expect((await later.newDataKey(acme)).wrappedBy).not.toBe(arn);
  });

  it("are `unavailable`, not lost, while their key is disabled", async () => {
    const wrapped = await keys.newDataKey(acme);
    kms.setEnabled("first", false);
    const refused = { code: "unavailable", message: expect.stringContaining("DisabledException") as string };
    await expect(keys.unwrap(acme, wrapped)).rejects.toMatchObject(refused);
    await expect(keys.newDataKey(acme)).rejects.toMatchObject(refused);
    kms.setEnabled("first", true);
    expect(await keys.unwrap(acme, wrapped)).toEqual(wrapped.key);
  });

  it("are `unavailable` when there is no such key", async () => {
    using missing = open("gone");
    await expect(missing.newDataKey(acme)).rejects.toMatchObject({ code: "unavailable" });
  });

  it.each<KmsFault>(["throttle", "fail", "reset", "hang"])("are had although one answer fails: %s", async (fault) => {
    kms.fault(({ index }) => (index < 1 ? fault : undefined));
    const { key, ...wrapped } = await keys.newDataKey(acme);
    expect(await keys.unwrap(acme, wrapped)).toEqual(key);
    expect(kms.seen.map(({ operation }) => operation)).toEqual([
      "GenerateDataKey",
      "GenerateDataKey",
      "Decrypt",
      "Decrypt",
    ]);
  });

  it.each<KmsFault>(["throttle", "fail", "reset", "hang"])("are `unavailable` while this lasts: %s", async (fault) => {
    const wrapped = await keys.newDataKey(acme);
    kms.fault(() => fault);
    await expect(keys.unwrap(acme, wrapped)).rejects.toMatchObject({ code: "unavailable" });
    await expect(keys.newDataKey(acme)).rejects.toMatchObject({ code: "unavailable" });
  });
});

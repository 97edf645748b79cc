/**
 * Wrapping keys in AWS KMS. Every data key is bound to its tenant by the encryption context, which also shows in the
 * key's audit trail; a data key that was moved to another tenant does not open.
 */
import { DecryptCommand, GenerateDataKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { TenantId } from "../core/ids.ts";
import type { WrappingKeys } from "../storage/encryption/wrapping-keys.ts";
import { clientOptions } from "./client-options.ts";
import type { AwsOptions } from "./client-options.ts";

export interface KmsOptions extends AwsOptions {
  /** Id, ARN or alias of a symmetric key. */
  readonly keyId: string;
}

/** What the service says of a key that does not belong here: asking again would not help. */
const CORRUPT: ReadonlySet<string> = new Set(["InvalidCiphertextException", "IncorrectKeyException"]);

/** Data keys from KMS; nothing is sent until one is needed. */
export function createKmsKeys(options: KmsOptions): WrappingKeys & Disposable {
  const { keyId, endpoint } = options;
  const client = new KMSClient(clientOptions(options));
  const place = `KMS key ${keyId}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
  const call = async <T>(send: Promise<T>): Promise<T> => {
    try {
      return await send;
    } catch (error) {
      const { name, message } = errorInfo(error);
      const code = CORRUPT.has(name) ? "corrupt" : "unavailable";
      throw new HoldpointError(code, `${place}: ${name}: ${message}`, { cause: error });
    }
  };
  const incomplete = (): HoldpointError => new HoldpointError("unavailable", `${place}: an incomplete answer`);
  return {
    async newDataKey(tenant) {
      const answer = await call(
        client.send(
          new GenerateDataKeyCommand({ KeyId: keyId, KeySpec: "AES_256", EncryptionContext: contextOf(tenant) }),
        ),
      );
      const { Plaintext: key, CiphertextBlob: wrapped, KeyId: wrappedBy } = answer;
      if (key === undefined || wrapped === undefined || wrappedBy === undefined) throw incomplete();
      return { key, wrapped, wrappedBy };
    },
    async unwrap(tenant, { wrapped, wrappedBy }) {
      const { Plaintext: key } = await call(
        client.send(
          // With the key that wrapped it, and not with any that the ciphertext might name.
          new DecryptCommand({ KeyId: wrappedBy, CiphertextBlob: wrapped, EncryptionContext: contextOf(tenant) }),
        ),
      );
      if (key === undefined) throw incomplete();
      return key;
    },
    owns: (wrappedBy) => wrappedBy.startsWith("arn:"),
    [Symbol.dispose]: () => client.destroy(),
  };
}

const contextOf = (tenant: TenantId): { readonly tenant: string } => ({ tenant });

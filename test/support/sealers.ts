/** Encryption as a process has it, with a key of its own; the data keys are kept in the table itself. */
import { randomBytes } from "node:crypto";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createLocalKeys } from "../../src/local/local-keys.ts";
import { createDataKeys } from "../../src/storage/encryption/data-keys.ts";
import type { DataKeys } from "../../src/storage/encryption/data-keys.ts";
import { createSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Table } from "../../src/storage/table.ts";

/** Data keys, wrapped by a key that nobody else has, and what seals with them. `strict`: what is not encrypted is refused. */
export function encryptionOn(
  table: Table,
  key = randomBytes(32).toString("base64"),
): {
  readonly dataKeys: DataKeys;
  readonly sealers: Sealers;
  readonly strict: Sealers;
} {
  const keys = createLocalKeys([key]);
  const dataKeys = createDataKeys({ table, keys, clock: systemClock, ids: systemIds });
  const of = (required: boolean): Sealers => createSealers({ dataKeys, required });
  return { dataKeys, sealers: of(false), strict: of(true) };
}

/** `required`: what is not encrypted is refused. */
export function sealersOn(table: Table, { required }: { readonly required: boolean }): Sealers {
  const { sealers, strict } = encryptionOn(table);
  return required ? strict : sealers;
}

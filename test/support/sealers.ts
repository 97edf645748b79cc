/** Encryption as a process has it, with a key of its own; the data keys are kept in the table itself. */
import { randomBytes } from "node:crypto";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createLocalKeys } from "../../src/local/local-keys.ts";
import { createDataKeys } from "../../src/storage/encryption/data-keys.ts";
import { createSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Table } from "../../src/storage/table.ts";

/** `required`: what is not encrypted is refused. */
export function sealersOn(table: Table, { required }: { readonly required: boolean }): Sealers {
  const keys = createLocalKeys([randomBytes(32).toString("base64")]);
  return createSealers({ dataKeys: createDataKeys({ table, keys, clock: systemClock, ids: systemIds }), required });
}

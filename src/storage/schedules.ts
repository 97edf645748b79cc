import type { TenantId, ThreadId } from "../core/ids.ts";
import { scheduleDue } from "../core/schedule.ts";
import type { Schedule, ScheduledRequest } from "../core/schedule.ts";
import type { Place } from "./encryption/envelope.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { futureSort, hookPartition, scheduleKeys } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Key, RemoveResult, Table } from "./table.ts";

/** A schedule with its request, sealed. */
export interface ScheduleRecord extends Schedule {
  readonly sealed: Uint8Array;
}

/** Schedules of a tenant: one partition, so that listing them is as consistent as reading one. */
export interface Schedules {
  get(tenant: TenantId, id: string): Promise<Stored<ScheduleRecord> | undefined>;
  /** By the key that stands in the `due` index. */
  at(key: Key): Promise<Stored<ScheduleRecord> | undefined>;
  put(record: ScheduleRecord, when: "absent" | { readonly version: number }): Promise<Written<ScheduleRecord>>;
  remove(stored: Stored<ScheduleRecord>): Promise<RemoveResult>;
  /** At most `limit` of them, in the order of their ids. Without those of a later format. */
  list(tenant: TenantId, limit: number): Promise<readonly ScheduleRecord[]>;
  seal(of: Pick<Schedule, "tenant" | "scheduleId">, request: ScheduledRequest): Promise<Uint8Array>;
  open(record: ScheduleRecord): Promise<ScheduledRequest>;
}

const placeOf = ({ tenant, scheduleId }: Pick<Schedule, "tenant" | "scheduleId">): Place => ({
  tenant,
  threadId: scheduleId as ThreadId, // belongs to no thread: sealed under the id of what it belongs to
  ns: "",
  checkpointId: "",
  part: "request of a schedule",
});

export function createSchedules(table: Table, shards: number, sealers: Sealers): Schedules {
  const records: Records<ScheduleRecord> = createRecords(table, {
    names: ["d", "b"],
    key: (one: ScheduleRecord) => scheduleKeys.schedule(one.tenant, one.scheduleId),
    encode: ({ sealed, ...rest }) => ({ d: JSON.stringify(rest), b: sealed }),
    decode: recordOf,
    index: (one) => indexEntries(one, shards),
  });
  return {
    get: (tenant, id) => records.get(scheduleKeys.schedule(tenant, id)),
    at: (key) => records.get(key),
    put: (record, when) => records.put(record, when),
    remove: ({ value, version }) => records.remove(scheduleKeys.schedule(value.tenant, value.scheduleId), version),
    async list(tenant, limit) {
      const found: ScheduleRecord[] = [];
      let after: string | undefined;
      do {
        const range = { prefix: scheduleKeys.prefix, ...(after === undefined ? {} : { after }) };
        const page = await records.query(scheduleKeys.partition(tenant), range, "skip");
        found.push(...page.items.map(({ value }) => value));
        after = page.next;
      } while (after !== undefined && found.length < limit);
      return found.slice(0, limit);
    },
    async seal(of, request) {
      const sealer = sealers(of.tenant);
      await sealer.ready();
      return sealer.seal(Buffer.from(JSON.stringify(request)), placeOf(of));
    },
    async open(record) {
      const bytes = await sealers(record.tenant).open(record.sealed, placeOf(record));
      return JSON.parse(Buffer.from(bytes).toString("utf8")) as ScheduledRequest;
    },
  };
}

function recordOf(item: Item): ScheduleRecord {
  const { b: sealed } = item.attributes;
  const value = JSON.parse(textOf(item, "d")) as ScheduleRecord;
  return { ...value, sealed: sealed instanceof Uint8Array ? sealed : Buffer.of() };
}

function indexEntries(schedule: Schedule, shards: number): IndexEntries {
  const dueAt = scheduleDue(schedule);
  if (dueAt === undefined) return {};
  const { tenant } = schedule;
  const at = { tenant, priority: 5, dueAt, subject: schedule.scheduleId };
  return { due: { pk: hookPartition(tenant, shards), sk: futureSort(at) } };
}

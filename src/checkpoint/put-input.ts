/** What is put: a checkpoint, or the writes of one task. */
import type { PendingWrite, SerializerProtocol } from "@langchain/langgraph-checkpoint";
import type { Draft } from "../storage/table.ts";
import type { Bounded } from "./state-size.ts";
import type { PutInput, StoredCheckpoint } from "./state.ts";
import type { InterruptOwner } from "./writes.ts";

export interface AppendInput extends Omit<PutInput, "parent">, Bounded {
  readonly serde: SerializerProtocol;
  readonly parentId: string | undefined;
  root(parent: StoredCheckpoint | undefined): string | undefined;
  /** Index entries of the first record of the log. */
  readonly firstIndex: Draft["index"];
}

export interface PutWritesInput extends Bounded {
  readonly serde: SerializerProtocol;
  readonly checkpointId: string;
  readonly taskId: string;
  readonly taskPath: string;
  readonly writes: readonly PendingWrite[];
  readonly owners: readonly InterruptOwner[];
}

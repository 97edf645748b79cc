/** Savers that are wrong in one way each: what the hard suite is for. */
import { WRITES_IDX_MAP, getCheckpointId } from "@langchain/langgraph-checkpoint";
import type {
  BaseCheckpointSaver,
  CheckpointListOptions,
  CheckpointTuple,
  MemorySaver,
  PendingWrite,
} from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";

type Part = Partial<Pick<MemorySaver, "getTuple" | "list" | "put" | "putWrites" | "deleteThread">>;

/** The saver with some methods replaced; those given may call the saver itself. */
const replaced = (saver: MemorySaver, part: Part): BaseCheckpointSaver =>
  Object.assign(Object.create(saver) as MemorySaver, part);

const withConfig = (config: RunnableConfig, change: Readonly<Record<string, unknown>>): RunnableConfig => ({
  ...config,
  configurable: { ...config.configurable, ...change },
});

const threadOf = (config: RunnableConfig): string => String(config.configurable?.["thread_id"]);

export const dropsEveryTenth = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, {
    putWrites: (config, writes, taskId, taskPath) =>
      saver.putWrites(
        config,
        writes.filter((_, n) => n % 10 !== 9),
        taskId,
        taskPath,
      ),
  });

export const ordersAsText = (saver: MemorySaver): BaseCheckpointSaver => {
  const sorted = (tuple: CheckpointTuple | undefined): CheckpointTuple | undefined => {
    const { pendingWrites } = tuple ?? {};
    if (tuple === undefined || pendingWrites === undefined) return tuple;
    const keyed = pendingWrites.map((write, n) => [String(n), write] as const);
    return { ...tuple, pendingWrites: keyed.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, write]) => write) };
  };
  return replaced(saver, { getTuple: async (config) => sorted(await saver.getTuple(config)) });
};

export const forgetsPaths = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, { putWrites: (config, writes, taskId) => saver.putWrites(config, writes, taskId) });

/** Where MemorySaver keeps the writes of a checkpoint. */
function writesOf(saver: MemorySaver, config: RunnableConfig): Record<string, unknown> {
  const key = JSON.stringify([threadOf(config), config.configurable?.["checkpoint_ns"], getCheckpointId(config)]);
  return saver.writes[key] ?? {};
}

const keyOf = (taskId: string, [channel]: PendingWrite, n: number): string =>
  `${taskId},${WRITES_IDX_MAP[String(channel)] ?? n}`;

export const overwrites = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, {
    putWrites: async (config, writes, taskId, taskPath) => {
      const stored = writesOf(saver, config);
      for (const [n, write] of writes.entries()) delete stored[keyOf(taskId, write, n)];
      await saver.putWrites(config, writes, taskId, taskPath);
    },
  });

export const keepsFirst = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, {
    putWrites: async (config, writes, taskId, taskPath) => {
      const stored = writesOf(saver, config);
      const fresh = writes.filter((write, n) => !(keyOf(taskId, write, n) in stored));
      await saver.putWrites(config, fresh, taskId, taskPath);
    },
  });

export const knowsNoNamespaces = (saver: MemorySaver): BaseCheckpointSaver => {
  const flat = (config: RunnableConfig): RunnableConfig => withConfig(config, { checkpoint_ns: "" });
  return replaced(saver, {
    getTuple: (config) => saver.getTuple(flat(config)),
    list: (config, options) => saver.list(flat(config), options),
    put: (config, checkpoint, metadata) => saver.put(flat(config), checkpoint, metadata),
    putWrites: (config, writes, taskId, taskPath) => saver.putWrites(flat(config), writes, taskId, taskPath),
  });
};

export const remembers = (saver: MemorySaver): BaseCheckpointSaver => {
  const known = new Map<string, CheckpointTuple | undefined>();
  return replaced(saver, {
    getTuple: async (config) => {
      const key = JSON.stringify(config.configurable);
      if (!known.has(key)) known.set(key, await saver.getTuple(config));
      return structuredClone(known.get(key));
    },
  });
};

export const handsOut = (saver: MemorySaver): BaseCheckpointSaver => {
  const known = new Map<string, CheckpointTuple | undefined>();
  return replaced(saver, {
    getTuple: async (config) => {
      const key = JSON.stringify(config.configurable);
      if (!known.has(key)) known.set(key, await saver.getTuple(config));
      return known.get(key);
    },
  });
};

async function* limitedFirst(
  saver: MemorySaver,
  config: RunnableConfig,
  { filter, ...options }: CheckpointListOptions,
): AsyncGenerator<CheckpointTuple> {
  for await (const tuple of saver.list(config, options)) {
    const metadata = new Map<string, unknown>(Object.entries(tuple.metadata ?? {}));
    if (Object.entries(filter ?? {}).every(([name, value]) => metadata.get(name) === value)) yield tuple;
  }
}

export const limitsFirst = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, { list: (config, options = {}) => limitedFirst(saver, config, options) });

export const cutsIds = (saver: MemorySaver): BaseCheckpointSaver => {
  const cut = (config: RunnableConfig): RunnableConfig =>
    withConfig(config, { thread_id: threadOf(config).slice(0, 255) });
  return replaced(saver, {
    getTuple: (config) => saver.getTuple(cut(config)),
    list: (config, options) => saver.list(cut(config), options),
    put: (config, checkpoint, metadata) => saver.put(cut(config), checkpoint, metadata),
    putWrites: (config, writes, taskId, taskPath) => saver.putWrites(cut(config), writes, taskId, taskPath),
  });
};

export const leavesWrites = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, { deleteThread: async (threadId) => void delete saver.storage[threadId] });

/** Keeps each value once for its channel and version, whichever branch it is of. */
export const sharesVersions = (): ((saver: MemorySaver) => BaseCheckpointSaver) => {
  const values = new Map<string, unknown>();
  return (saver) =>
    replaced(saver, {
      put: async (config, checkpoint, metadata) => {
        for (const [name, value] of Object.entries(checkpoint.channel_values)) {
          values.set(`${threadOf(config)} ${name} ${checkpoint.channel_versions[name]}`, value);
        }
        return saver.put(config, checkpoint, metadata);
      },
      getTuple: async (config) => {
        const tuple = await saver.getTuple(config);
        if (tuple === undefined) return undefined;
        for (const [name, version] of Object.entries(tuple.checkpoint.channel_versions)) {
          const key = `${threadOf(config)} ${name} ${version}`;
          if (values.has(key)) tuple.checkpoint.channel_values[name] = values.get(key);
        }
        return tuple;
      },
    });
};

export const hasItemLimit = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, {
    put: async (config, checkpoint, metadata) => {
      if (JSON.stringify(checkpoint).length > 400_000)
        throw new Error("Item size has exceeded the maximum allowed size");
      return saver.put(config, checkpoint, metadata);
    },
  });

/** Two puts on one thread that are under way at once: only the first is kept. */
export const losesRaces = (saver: MemorySaver): BaseCheckpointSaver =>
  replaced(saver, {
    put: async (config, checkpoint, metadata) => {
      const before = Object.keys(saver.storage[threadOf(config)]?.[""] ?? {}).length;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      const isFirst = before === Object.keys(saver.storage[threadOf(config)]?.[""] ?? {}).length;
      if (isFirst) return saver.put(config, checkpoint, metadata);
      return withConfig(config, { checkpoint_id: checkpoint.id });
    },
  });

/** Stores each write by itself, and fails at the n-th. */
export const writesOneByOne = (saver: BaseCheckpointSaver, nth: number): BaseCheckpointSaver => {
  let writes = 0;
  const count = (): void => {
    writes += 1;
    if (writes >= nth) throw new Error("the storage is away");
  };
  const putWrites: BaseCheckpointSaver["putWrites"] = async (config, all, taskId, taskPath) => {
    for (const n of all.keys()) {
      count();
      await saver.putWrites(config, all.slice(0, n + 1), taskId, taskPath);
    }
  };
  return Object.assign(Object.create(saver) as BaseCheckpointSaver, { putWrites });
};

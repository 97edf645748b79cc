/** What one side pushes and the other iterates over, once; never more than a turn of a model, so it is not bounded. */
export interface Channel<T> extends AsyncIterable<T> {
  push(value: T): void;
  end(): void;
  fail(error: unknown): void;
}

interface End {
  readonly error?: unknown;
}

export function createChannel<T>(): Channel<T> {
  const waiting: T[] = [];
  let end: End | undefined;
  let wake = Promise.withResolvers<void>();
  const finish = (how: End): void => {
    end ??= how;
    wake.resolve();
  };
  return {
    push(value) {
      waiting.push(value);
      wake.resolve();
    },
    end: () => finish({}),
    fail: (error) => finish({ error }),
    async *[Symbol.asyncIterator]() {
      for (;;) {
        yield* waiting.splice(0);
        if (waiting.length > 0) continue;
        if (end) {
          if ("error" in end) throw end.error;
          return;
        }
        await wake.promise;
        wake = Promise.withResolvers<void>();
      }
    },
  };
}

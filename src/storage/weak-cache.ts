/** What somebody still holds, by name: asked for again, it is the same object, and once nobody holds it nothing is kept. */
export interface WeakCache<T extends object> {
  get(name: string): T | undefined;
  /** Returns what is to be used from now on: the one that is held already, if there is one. */
  put(name: string, value: T): T;
}

export function createWeakCache<T extends object>(): WeakCache<T> {
  const held = new Map<string, WeakRef<T>>();
  const gone = new FinalizationRegistry<string>((name) => {
    // Another one may have taken the place meanwhile.
    if (held.get(name)?.deref() === undefined) held.delete(name);
  });
  const get = (name: string): T | undefined => held.get(name)?.deref();
  return {
    get,
    put(name, value) {
      const before = get(name);
      if (before !== undefined) return before;
      held.set(name, new WeakRef(value));
      gone.register(value, name);
      return value;
    },
  };
}

/** An object of the same class with the same fields. Concurrent deliveries share what they do not change. */
export function copyOf<T extends object>(original: T): T {
  const copy: unknown = Object.create(Object.getPrototypeOf(original) as object);
  return Object.assign(copy as T, original); // the prototype and the fields of a T
}

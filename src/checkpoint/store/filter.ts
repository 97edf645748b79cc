/** Filters of a search, and conditions on namespaces, as LangGraph's InMemoryStore understands them. */
import type { MatchCondition } from "@langchain/langgraph-checkpoint";
import { HoldpointError } from "../../core/errors.ts";
import { canonicalJson } from "../../core/json.ts";

type Test = (value: unknown) => boolean;

/** What each operator asks of a field, given what it is compared with. Orders compare numbers. */
const OPERATORS: Readonly<Record<string, (with_: unknown) => Test>> = {
  $eq: (other) => (value) => isSame(value, other),
  $ne: (other) => (value) => !isSame(value, other),
  $gt: (other) => (value) => Number(value) > Number(other),
  $gte: (other) => (value) => Number(value) >= Number(other),
  $lt: (other) => (value) => Number(value) < Number(other),
  $lte: (other) => (value) => Number(value) <= Number(other),
  $in: (others) => (value) => Array.isArray(others) && others.some((other) => isSame(value, other)),
  $nin: (others) => (value) => !Array.isArray(others) || !others.some((other) => isSame(value, other)),
};

/**
 * True for values whose fields are all as asked: equal, or what the operators say. Fields are those of the value itself,
 * and nested objects and lists are equal when they are the same JSON.
 * @throws HoldpointError `invalid` for an operator that does not exist, or one beside fields
 */
export function filterOf(
  filter: Readonly<Record<string, unknown>>,
): (value: Readonly<Record<string, unknown>>) => boolean {
  const tests = Object.entries(filter).map(([field, wanted]) => [field, testOf(field, wanted)] as const);
  return (value) => tests.every(([field, test]) => test(Object.hasOwn(value, field) ? value[field] : undefined));
}

function testOf(field: string, wanted: unknown): Test {
  if (!isPlainObject(wanted)) return (value) => isSame(value, wanted);
  const entries = Object.entries(wanted);
  const asked = entries.filter(([name]) => name.startsWith("$"));
  // Nothing that is asked of a field is always fulfilled.
  if (entries.length > 0 && asked.length === 0) return (value) => isSame(value, wanted);
  if (asked.length < entries.length)
    throw new HoldpointError("invalid", `the filter on ${field} has operators and fields side by side`);
  const tests = asked.map(([name, other]) => operatorOf(field, name)(other));
  return (value) => tests.every((test) => test(value));
}

function operatorOf(field: string, name: string): (with_: unknown) => Test {
  const operator = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (operator) return operator;
  const known = Object.keys(OPERATORS).join(", ");
  throw new HoldpointError("invalid", `the filter on ${field} has the operator ${name}; there are ${known}`);
}

/** Equality that survives storage: not that of references. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  return canonicalJson(a) === canonicalJson(b);
}

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a namespace begins, or ends, as the condition says; `*` stands for any label. */
export function meets({ matchType, path }: MatchCondition, namespace: readonly string[]): boolean {
  const skipped = namespace.length - path.length;
  if (skipped < 0) return false;
  const start = matchType === "prefix" ? 0 : skipped;
  return path.every((label, i) => label === "*" || label === namespace[start + i]);
}

/** The labels with which every namespace that meets the conditions must begin. */
export function literalPrefix(conditions: readonly MatchCondition[]): readonly string[] {
  const prefixes = conditions
    .filter(({ matchType }) => matchType === "prefix")
    .map(({ path }) => path.slice(0, path.includes("*") ? path.indexOf("*") : path.length));
  return prefixes.reduce((longest, prefix) => (prefix.length > longest.length ? prefix : longest), []);
}

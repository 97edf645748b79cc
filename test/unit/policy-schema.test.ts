/** Each word that a policy may use about arguments counts: what it excludes is never approved. */
import { describe, expect, it } from "vitest";
import { schemaProblems } from "../../src/core/json-schema.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { policySchemaProblems } from "../../src/core/policy-schema.ts";

const of = (schema: JsonObject): JsonObject => ({ type: "object", properties: { x: schema }, required: ["x"] });

describe("what a policy says of an argument", () => {
  it.each<[JsonObject, fits: Json, not: Json]>([
    [{ type: "string" }, "a", 1],
    [{ type: "string", minLength: 2 }, "ab", "a"],
    [{ type: "string", maxLength: 2 }, "ab", "abc"],
    [{ type: "number" }, 1.5, "1.5"],
    [{ type: "number", minimum: 1 }, 1, 0.9],
    [{ type: "number", maximum: 1 }, 1, 1.1],
    [{ type: "number", exclusiveMinimum: 1 }, 1.1, 1],
    [{ type: "number", exclusiveMaximum: 1 }, 0.9, 1],
    [{ type: "number", multipleOf: 5 }, 10, 11],
    [{ type: "integer" }, 1, 1.5],
    [{ type: "integer", minimum: 1, maximum: 3 }, 3, 4],
    [{ type: "integer", exclusiveMinimum: 1 }, 2, 1],
    [{ type: "integer", exclusiveMaximum: 3 }, 2, 3],
    [{ type: "integer", multipleOf: 2 }, 4, 3],
    [{ type: "boolean" }, true, "true"],
    [{ type: "null" }, null, 0],
    [{ type: "array", items: { type: "string" } }, ["a"], [1]],
    [{ type: "array", items: { type: "string" }, minItems: 1 }, ["a"], []],
    [{ type: "array", items: { type: "string" }, maxItems: 1 }, ["a"], ["a", "b"]],
    [{ type: "object", properties: { y: { type: "number" } }, required: ["y"] }, { y: 1 }, {}],
    [{ type: "object", properties: { y: { type: "number", maximum: 1 } } }, {}, { y: 2 }],
    [{ type: "object", properties: { y: { type: "number" } }, additionalProperties: false }, { y: 1 }, { z: 1 }],
    [{ enum: ["a", "b"] }, "b", "c"],
    [{ enum: [1, null] }, null, 2],
    [{ const: "EUR" }, "EUR", "USD"],
    [{ anyOf: [{ type: "number", maximum: 1 }, { const: "none" }] }, "none", 2],
  ])("%j", (schema, fits, not) => {
    expect(policySchemaProblems(of(schema), "/args")).toEqual([]);
    expect(schemaProblems(of(schema), { x: fits })).toEqual([]);
    expect(schemaProblems(of(schema), { x: not })).not.toEqual([]);
    expect(schemaProblems(of(schema), {})).not.toEqual([]);
  });

  it.each<JsonObject>([
    {},
    { maximum: 1 },
    { type: ["number", "string"] },
    { type: "number", minLength: 1 },
    { type: "string", format: "email" },
    { type: "array", items: { maximum: 1 } },
    { type: "object", properties: [] },
    { type: "object", required: [1] },
    { type: "object", additionalProperties: { type: "string" } },
    { type: "number", maximum: "1" },
    { enum: [{}] },
    { const: [] },
    { const: 1, type: "number" },
    { anyOf: [] },
    { anyOf: [{ type: "number" }], maximum: 1 },
    { not: { const: 1 } },
    { $ref: "#" },
  ])("%j is a mistake, since it might be passed over", (schema) => {
    expect(policySchemaProblems(of(schema), "/args")).not.toEqual([]);
  });

  it("is nested no deeper than a person can read", () => {
    let schema: JsonObject = { type: "string" };
    for (let i = 0; i < 10; i++) schema = { type: "object", properties: { x: schema } };
    expect(policySchemaProblems(schema, "/args")).toMatchObject([
      { message: expect.stringContaining("deeper") as string },
    ]);
  });
});

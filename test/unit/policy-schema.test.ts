/** Each word that a policy may use about arguments counts: what it excludes is never approved. */
import { describe, expect, it } from "vitest";
import { schemaProblems } from "../../src/core/json-schema.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { policySchemaProblems } from "../../src/core/policy-schema.ts";

const of = (schema: JsonObject): JsonObject => ({
  type: "object",
  properties: { x: schema },
  required: ["x"],
  additionalProperties: false,
});

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
    [
      { type: "object", properties: { y: { type: "number" } }, required: ["y"], additionalProperties: true },
      { y: 1 },
      {},
    ],
    [
      { type: "object", properties: { y: { type: "number", maximum: 1 } }, additionalProperties: true },
      { z: 1 },
      { y: 2 },
    ],
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
    { type: "object", properties: [], additionalProperties: false },
    { type: "object", required: [1], additionalProperties: false },
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

  it.each<[JsonObject, string]>([
    [{ type: "number", minimum: 30, maximum: 20 }, "/minimum"],
    [{ type: "number", minimum: 20, exclusiveMaximum: 20 }, "/minimum"],
    [{ type: "integer", exclusiveMinimum: 20, maximum: 20 }, "/exclusiveMinimum"],
    [{ type: "number", exclusiveMinimum: 20, exclusiveMaximum: 20 }, "/exclusiveMinimum"],
    [{ type: "string", minLength: 3, maxLength: 2 }, "/minLength"],
    [{ type: "array", items: { type: "string" }, minItems: 3, maxItems: 2 }, "/minItems"],
    [{ type: "string", maxLength: -1 }, "/maxLength"],
    [{ type: "number", multipleOf: 0 }, "/multipleOf"],
    [
      { type: "object", properties: { y: { type: "null" } }, required: ["y", "z"], additionalProperties: false },
      "/required/1",
    ],
    [{ type: "object", required: ["toString"], additionalProperties: false }, "/required/0"],
  ])("%j is a mistake, since nothing fits it", (schema, pointer) => {
    const problems = policySchemaProblems(of(schema), "/args");
    expect(problems.map((problem) => problem.pointer)).toEqual([`/args/properties/x${pointer}`]);
  });

  it.each<[JsonObject, Json]>([
    [{ type: "number", minimum: 20, maximum: 20 }, 20],
    [{ type: "string", minLength: 2, maxLength: 2 }, "ab"],
    [{ type: "string", maxLength: 0 }, ""],
    [{ type: "object", required: ["z"], additionalProperties: true }, { z: 1 }],
  ])("%j is none, since something does", (schema, fits) => {
    expect(policySchemaProblems(of(schema), "/args")).toEqual([]);
    expect(schemaProblems(of(schema), { x: fits })).toEqual([]);
  });

  it("is said of every object, so that a misspelt name leaves nothing free", () => {
    const args = { type: "object", properties: { amout: { type: "number", maximum: 100 } } };
    expect(policySchemaProblems(args, "/args")).toMatchObject([{ pointer: "/args/additionalProperties" }]);
    expect(policySchemaProblems(of({ type: "object" }), "/args")).toMatchObject([
      { pointer: "/args/properties/x/additionalProperties" },
    ]);
    expect(policySchemaProblems({ ...args, additionalProperties: false }, "/args")).toEqual([]);
  });

  it("is nested no deeper than a person can read", () => {
    let schema: JsonObject = { type: "string" };
    for (let i = 0; i < 10; i++) schema = { type: "object", properties: { x: schema }, additionalProperties: false };
    expect(policySchemaProblems(schema, "/args")).toMatchObject([
      { message: expect.stringContaining("deeper") as string },
    ]);
  });
});

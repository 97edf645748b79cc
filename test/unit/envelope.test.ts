import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { lengthPrefixed, open, parseEnvelope, placeBytes, plain, seal } from "../../src/storage/encryption/envelope.ts";
import type { Place, SealingKey } from "../../src/storage/encryption/envelope.ts";

const key: SealingKey = { id: "0123456789abcdef", key: randomBytes(32) };
const place: Place = {
  tenant: tenantId("acme"),
  threadId: threadId("case-1"),
  ns: "sub",
  checkpointId: "cp-1",
  part: "messages",
};
/** Never made anew: what stands on disk outlives the version that wrote it. */
const FORMAT_1 = "/khQ5QybN6EBABEiM0RVZqoJCQkJCQkJCQkJCQlB6vb534ThUDecc8DMqkVuhKZgNYphfT8=";
const MAGIC = Buffer.from("fe4850e50c9b37a1", "hex");

type Binding = (at: Place) => Uint8Array;
const put = (body: Uint8Array, at: Place = place, bind: Binding = placeBytes): Uint8Array => seal(key, body, bind(at));

/** Reads stored bytes with one key, plaintext too. */
function read(stored: Uint8Array, at: Place = place, by: SealingKey = key, bind: Binding = placeBytes): Uint8Array {
  const envelope = parseEnvelope(stored, at);
  if (envelope.kind === "plain") return envelope.bytes;
  if (envelope.keyId !== by.id) throw new HoldpointError("corrupt", "another key");
  const body = open(by.key, envelope.bytes, bind(at));
  if (body === undefined) throw new HoldpointError("corrupt", "not what was sealed there");
  return body;
}
const refuses = (reading: () => Uint8Array): boolean => {
  try {
    reading();
    return false;
  } catch (error) {
    return error instanceof HoldpointError && (error.code === "corrupt" || error.code === "unsupported");
  }
};

const bytes = fc.uint8Array({ maxLength: 300 });
/** What begins like sealed bytes, and more or less so. */
const lookalike = fc
  .tuple(fc.nat(8), fc.uint8Array({ maxLength: 40 }))
  .map(([length, rest]) => Uint8Array.from([...MAGIC.subarray(0, length), ...rest]));
const text = fc.oneof(fc.string(), fc.constantFrom("", "|", "a", "a|b", "\u0000"));
const anyPlace = fc.record({
  tenant: text.map(tenantId),
  threadId: text.map(threadId),
  ns: text,
  checkpointId: text,
  part: text,
});

describe("sealed bytes", () => {
  it("open at their place, and are never twice the same", () => {
    fc.assert(
      fc.property(fc.oneof(bytes, lookalike), anyPlace, (body, at) => {
        const [one, other] = [put(body, at), put(body, at)];
        expect(Buffer.from(read(one, at))).toEqual(Buffer.from(body));
        expect(Buffer.compare(one, other)).not.toBe(0);
        expect(one.length).toBe(body.length + 45);
      }),
    );
  });

  it("do not show what they hold", () => {
    const secret = Buffer.from("the customer's name is Alice");
    expect(Buffer.from(put(secret)).includes(secret.subarray(4, 12))).toBe(false);
  });

  /** Whether a body that was sealed at one place opens at another. */
  const moves = (bind: Binding) =>
    fc.property(bytes, anyPlace, anyPlace, (body, at, elsewhere) => {
      fc.pre(JSON.stringify(at) !== JSON.stringify(elsewhere));
      return refuses(() => read(put(body, at, bind), elsewhere, key, bind));
    });

  it("do not open at any other place", () => {
    fc.assert(moves(placeBytes));
  });

  it("open anywhere when their place is no additional data (negative control)", () => {
    const nowhere = (): Uint8Array => new Uint8Array();
    expect(fc.check(moves(nowhere)).failed).toBe(true);
  });

  it.each(["tenant", "threadId", "ns", "checkpointId", "part"] as const)("are bound to their %s", (name) => {
    const sealed = put(Buffer.from("body"));
    const moved = { ...place, [name]: "other" };
    expect(() => read(sealed, moved)).toThrow(expect.objectContaining({ code: "corrupt" }));
  });

  it("do not open when any one bit is another", () => {
    fc.assert(
      fc.property(bytes, fc.nat(), (body, n) => {
        const sealed = Uint8Array.from(put(body));
        const bit = n % (sealed.length * 8);
        sealed[bit >> 3] = (sealed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(refuses(() => read(sealed))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("do not open when they were cut or made longer", () => {
    const sealed = put(Buffer.from("a body of some length"));
    for (let length = 1; length < sealed.length; length++) {
      expect(refuses(() => read(sealed.subarray(0, length)))).toBe(true);
    }
    expect(refuses(() => read(Buffer.concat([sealed, Uint8Array.of(0)])))).toBe(true);
  });

  it("do not open with another key, also of the same name", () => {
    const sealed = put(Buffer.from("body"));
    expect(refuses(() => read(sealed, place, { ...key, key: randomBytes(32) }))).toBe(true);
    expect(refuses(() => read(sealed, place, { ...key, id: "fedcba9876543210" }))).toBe(true);
  });

  it("of a later format are left to a later version", () => {
    const sealed = Uint8Array.from(put(Buffer.from("body")));
    sealed[8] = 2;
    expect(() => read(sealed)).toThrow(expect.objectContaining({ code: "unsupported" }));
  });

  it("are read as format 1 wrote them", () => {
    const fixed = { id: "00112233445566aa", key: Buffer.alloc(32, 7) };
    expect(Buffer.from(read(Buffer.from(FORMAT_1, "base64"), place, fixed)).toString()).toBe("format 1");
  });
});

describe("plaintext", () => {
  it("comes back as it was, whatever it looks like", () => {
    fc.assert(
      fc.property(fc.oneof(bytes, lookalike), (body) => {
        expect(Buffer.from(read(plain(body)))).toEqual(Buffer.from(body));
      }),
      { numRuns: 1000 },
    );
  });

  it("is stored as it is, unless it looks sealed", () => {
    for (const body of ["", "{}", '{"a":1}', "\u0001\u0000{}", "[1]"]) {
      expect(plain(Buffer.from(body))).toEqual(Buffer.from(body));
      expect(read(Buffer.from(body))).toEqual(Buffer.from(body));
    }
    const sealed = put(Buffer.from("body"));
    expect(plain(sealed)).toHaveLength(sealed.length + 9);
    expect(read(plain(sealed))).toEqual(Buffer.from(sealed));
  });

  it("that looks sealed would be taken for it (negative control)", () => {
    const sealed = put(Buffer.from("body"));
    expect(read(sealed)).not.toEqual(Buffer.from(sealed));
  });
});

describe("the bytes of a place", () => {
  it("differ whenever the place does", () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), fc.array(text, { maxLength: 4 }), (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(Buffer.compare(lengthPrefixed(one), lengthPrefixed(other))).not.toBe(0);
      }),
    );
  });

  it("would be shared by two places without their lengths (negative control)", () => {
    const joined = (texts: readonly string[]): string => texts.join("|");
    expect(joined(["a|b", "c"])).toBe(joined(["a", "b|c"]));
    expect(lengthPrefixed(["a|b", "c"])).not.toEqual(lengthPrefixed(["a", "b|c"]));
  });
});

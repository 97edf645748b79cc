import { openedCallback, signedCallback } from "../core/callback-token.ts";
import type { CallbackTarget } from "../core/callback-token.ts";
import { linkOf, linkToJson } from "../core/decision-link.ts";
import type { DecisionLink } from "../core/decision-link.ts";
import type { IdSource } from "../core/ids.ts";
import { openedToken, signedToken } from "../core/signed-token.ts";
import { tableKey } from "./keys.ts";
import { readable, textOf } from "./records.ts";
import type { Table } from "./table.ts";

/** Signs the tokens of callbacks and of links, and knows its own again: the same in every process on one table. */
export interface CallbackTokens {
  sign(target: CallbackTarget): Promise<string>;
  /** Undefined for a token that was never handed out. */
  open(token: string): Promise<CallbackTarget | undefined>;
  signLink(link: DecisionLink): Promise<string>;
  /** Undefined for a token that was never handed out; one that has expired is opened. */
  openLink(token: string): Promise<DecisionLink | undefined>;
}

export interface CallbackTokensOptions {
  readonly table: Table;
  readonly ids: IdSource;
  /** The first one signs, all are accepted. Without any, one that is drawn once and kept in the table. */
  readonly secrets: readonly string[];
}

const LINK = { use: "link", version: "l1" };
const SECRET_BYTES = 32;

export function createCallbackTokens({ table, ids, secrets: given }: CallbackTokensOptions): CallbackTokens {
  let known: Promise<readonly [Uint8Array, ...Uint8Array[]]> | undefined;
  const secrets = () => (known ??= read().catch(forget));
  const forget = (error: unknown): never => {
    known = undefined;
    throw error;
  };
  const read = async (): Promise<readonly [Uint8Array, ...Uint8Array[]]> => {
    const [first, ...others] = given.map((secret) => Buffer.from(secret, "utf8"));
    return first ? [first, ...others] : [Buffer.from(await secretOf(table, ids), "hex")];
  };
  return {
    sign: async (target) => signedCallback(target, (await secrets())[0]),
    open: async (token) => openedCallback(token, await secrets()),
    signLink: async (link) => signedToken(LINK, linkToJson(link), (await secrets())[0]),
    async openLink(token) {
      const said = openedToken(LINK, token, await secrets());
      return said === undefined ? undefined : linkOf(said);
    },
  };
}

async function secretOf(table: Table, ids: IdSource): Promise<string> {
  const key = tableKey("callback-secret");
  const there = readable(await table.get(key));
  if (there) return textOf(there, "d");
  const drawn = ids.token(SECRET_BYTES);
  const put = await table.put({ ...key, attributes: { d: drawn } }, "absent");
  return put.won || !put.current ? drawn : textOf(readable(put.current), "d");
}

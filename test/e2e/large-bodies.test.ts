/** What does not fit an item of the table, through real processes: accepted, streamed, read back, after a restart too. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { tenantId, threadId as asThreadId } from "../../src/core/ids.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { MAX_ITEM_BYTES } from "../../src/storage/table.ts";
import { dynamoEngines } from "../support/engines.ts";
import { startFakeKms } from "../support/fake-kms.ts";
import { startFakeS3 } from "../support/fake-s3.ts";
import { startTestService, testFolder } from "../support/process.ts";
import { parseEvents } from "../support/sse.ts";
import { FRAME_CHARACTERS, noise, QUIET, UPDATE_CHARACTERS } from "./graphs/large.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/large.json");
const INPUT_CHARACTERS = 2_000_000;
const MODES = "stream_mode=values&stream_mode=updates&stream_mode=custom";

interface Place extends AsyncDisposable {
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Names of the thread's bodies that are kept outside of their items. */
  bodies(thread: string): Promise<readonly string[]>;
}

const sqlite = {
  name: "SQLite",
  async open(): Promise<Place> {
    const folder = await testFolder();
    return {
      dataDir: folder.path,
      env: {},
      async bodies(thread) {
        const blobs = join(folder.path, "blobs");
        const files = existsSync(blobs) ? await readdir(blobs, { recursive: true, withFileTypes: true }) : [];
        return files.filter((file) => file.isFile() && file.parentPath.includes(thread)).map(({ name }) => name);
      },
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  },
};

const dynamo = dynamoEngines().map((engine) => ({
  name: engine.name,
  async open(): Promise<Place> {
    await using opening = new AsyncDisposableStack();
    const folder = opening.use(await testFolder());
    const { table, place } = opening.use(await engine.open());
    const opened = opening.move();
    return {
      dataDir: folder.path,
      env: { HOLDPOINT_TABLE: place.tableName, DYNAMODB_ENDPOINT: place.endpoint },
      async bodies(thread) {
        const partition = threadKeys.partition({ tenant: tenantId("default"), threadId: asThreadId(thread) });
        const names = new Set<string>();
        let after: string | undefined;
        do {
          const from = after === undefined ? {} : { after };
          const page = await table.query(partition, { prefix: threadKeys.blobPrefix, ...from });
          for (const { sk } of page.items) names.add(sk.slice(0, sk.lastIndexOf(".")));
          after = page.next;
        } while (after !== undefined);
        return [...names];
      },
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  },
}));

const S3_BUCKET = "bodies";
/** Bodies in a bucket, and all content that can be encrypted under a key of KMS. */
const bucketAndKms = dynamoEngines()
  .slice(0, 1)
  .map((engine) => ({
    name: `${engine.name} with S3 and KMS`,
    async open(): Promise<Place> {
      await using opening = new AsyncDisposableStack();
      const folder = opening.use(await testFolder());
      const { place } = opening.use(await engine.open());
      const [s3, kms] = [opening.use(await startFakeS3(S3_BUCKET)), opening.use(await startFakeKms())];
      const opened = opening.move();
      return {
        dataDir: folder.path,
        env: {
          HOLDPOINT_TABLE: place.tableName,
          DYNAMODB_ENDPOINT: place.endpoint,
          HOLDPOINT_BUCKET: S3_BUCKET,
          S3_ENDPOINT: s3.endpoint,
          HOLDPOINT_KMS_KEY_ID: kms.createKey("first"),
          KMS_ENDPOINT: kms.endpoint,
        },
        async bodies(thread) {
          const objects = [...s3.objects(S3_BUCKET)].filter(([key]) => key.startsWith(`default/${thread}/`));
          const plain = objects.find(([, { bytes }]) => bytes.subarray(0, 9).toString("hex") !== SEALED);
          if (plain !== undefined) throw new Error(`${plain[0]} is not encrypted`);
          return objects.map(([key]) => key);
        },
        [Symbol.asyncDispose]: () => opened.disposeAsync(),
      };
    },
  }));
/** How sealed bytes begin. */
const SEALED = "fe4850e50c9b37a101";

const start = ({ dataDir, env }: Place) =>
  startTestService({ role: "all", dataDir, env: { HOLDPOINT_CONFIG, ...env } });

const post = (url: string, body: object): Promise<Response> =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

async function textOf(response: Response): Promise<string> {
  expect(response.status).toBe(200);
  return response.text();
}

async function newThread(url: string): Promise<string> {
  const { thread_id: id } = (await (await post(`${url}/threads`, {})).json()) as { readonly thread_id: string };
  return `${url}/threads/${id}`;
}

/** Short enough to be shown where two differ. */
const fingerprint = (text: string) => ({
  length: text.length,
  sha256: createHash("sha256").update(text).digest("hex"),
});

/** Every frame of a stream with a fingerprint of its data; only who joins is also told how the run ended. */
const frames = (text: string) =>
  parseEvents(text)
    .filter(({ id }) => id !== undefined)
    .map(({ event, id, data }) => ({ event, id, ...fingerprint(JSON.stringify(data)) }));

/** The data of all events of a name. */
const dataOf = (text: string, name: string): readonly string[] =>
  parseEvents(text)
    .filter(({ event }) => event === name)
    .map(({ data }) => JSON.stringify(data));

describe.each([sqlite, ...dynamo, ...bucketAndKms])(
  "bodies larger than an item, on $name",
  { timeout: 120_000 },
  (on) => {
    it("are streamed and read back whole, and the same after a restart", async () => {
      await using place = await on.open();
      const input = { text: noise("input", INPUT_CHARACTERS) };
      const [said, reply] = [noise("frame", FRAME_CHARACTERS), noise("update", UPDATE_CHARACTERS)];
      for (const text of [input.text, reply]) expect(text.length).toBeGreaterThan(MAX_ITEM_BYTES);

      await using first = start(place);
      const thread = await newThread((await first.ready).url ?? "");
      const response = await post(`${thread}/runs/stream`, {
        assistant_id: "large",
        input,
        stream_mode: ["values", "updates", "custom"],
      });
      const live = await textOf(response);
      const run = /\/runs\/([0-9a-f-]{36})/.exec(response.headers.get("content-location") ?? "")?.[1] ?? "";
      expect(dataOf(live, "custom").map(fingerprint)).toEqual([fingerprint(JSON.stringify({ said }))]);
      expect(dataOf(live, "updates").map(fingerprint)).toEqual([fingerprint(JSON.stringify({ swell: { reply } }))]);
      const last = fingerprint(dataOf(live, "values").at(-1) ?? "");
      expect(last).toEqual(fingerprint(JSON.stringify({ ...input, reply })));
      const state = await textOf(await fetch(`${thread}/state`));
      const { values } = JSON.parse(state) as { readonly values: object };
      expect(fingerprint(JSON.stringify(values))).toEqual(last);
      // At the least: both texts of the state, and the two frames that say something of their own.
      expect((await place.bodies(thread.slice(-36))).length).toBeGreaterThanOrEqual(4);
      expect((await first.stop("SIGTERM")).code).toBe(0);

      await using second = start(place);
      const again = thread.replace(/^http:\/\/[^/]+/, (await second.ready).url ?? "");
      const headers = { "last-event-id": "-1" };
      const replayed = await textOf(await fetch(`${again}/runs/${run}/stream?${MODES}`, { headers }));
      expect(frames(live).length).toBeGreaterThanOrEqual(5);
      expect(frames(replayed)).toEqual(frames(live));
      expect(fingerprint(await textOf(await fetch(`${again}/state`)))).toEqual(fingerprint(state));
    });

    it("are kept apart from their items, unlike small ones", async () => {
      await using place = await on.open();
      await using service = start(place);
      const { url = "" } = await service.ready;
      const [large, small] = [await newThread(url), await newThread(url)];
      await textOf(await post(`${large}/runs/wait`, { assistant_id: "large", input: { text: "much" } }));
      await textOf(await post(`${small}/runs/wait`, { assistant_id: "large", input: { text: QUIET } }));
      expect(await place.bodies(large.slice(-36))).not.toEqual([]);
      expect(await place.bodies(small.slice(-36))).toEqual([]);
    });
  },
);

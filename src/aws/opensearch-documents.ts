/**
 * Documents in an OpenSearch index. OpenSearch changes one item at a time, so a document is several items: its passages,
 * and a *marker* that says which passages it has. What must stay true:
 * 1. A marker with a digest stands for a document that is there whole: it gets the digest after everything else.
 * 2. Before a passage is written or removed, the marker names all that the document had and is to have, so that nothing
 *    of a write that was cut off stays when the document is written or removed the next time.
 * 3. Every marker is written on the version that was read: of two ingestions of one document at the same time one is
 *    told that it came second.
 * 4. An item's id is made of tenant, collection and content (I8): the same write twice is one, and no tenant's write can
 *    land on an item of another.
 */
import { z } from "zod";
import { sha256 } from "../core/ids.ts";
import type { DocumentIndex, IndexedDocument, IndexedPassage } from "../retrieval/ingest.ts";
import type { Collection, Labels } from "../retrieval/retriever.ts";
import { sendBulk } from "./opensearch-bulk.ts";
import type { BulkAction, BulkOutcome, Guard } from "./opensearch-bulk.ts";
import { isForNow } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

/** Markers of one request. */
const MARKERS = 200;
const IDS_PAGE = 1_000;
/** How often a marker is read anew because somebody else wrote it meanwhile. */
const RACES = 5;

/** The documents of the index, for one ingestion or one removal: all its requests end with the signal. */
export function createOpenSearchDocuments(requests: OpenSearchRequests, signal?: AbortSignal): DocumentIndex {
  const context = { requests, signal };
  return {
    async digests(place, ids) {
      const markers = await readMarkers(context, place, ids);
      return new Map(
        ids.flatMap((id) => {
          const digest = markers.get(id)?.digest ?? "";
          return digest === "" ? [] : [[id, digest]];
        }),
      );
    },
    replace: (place, documents) =>
      rewrite(
        context,
        place,
        documents.map((document) => ({ id: document.id, document })),
      ),
    async remove(place, ids) {
      const there = [...(await readMarkers(context, place, ids)).keys()];
      for (let start = 0; start < there.length; start += MARKERS) {
        await rewrite(
          context,
          place,
          there.slice(start, start + MARKERS).map((id) => ({ id })),
        );
      }
      return there.length;
    },
    documentIds: (place) => documentIds(context, place),
  };
}

interface Context {
  readonly requests: OpenSearchRequests;
  readonly signal: AbortSignal | undefined;
}

/** What becomes of a document: it is put in place of what is there, or removed. */
interface Change {
  readonly id: string;
  readonly document?: IndexedDocument;
}

interface Marker {
  readonly guard: Guard;
  /** Empty while the document is being written. */
  readonly digest: string;
  /** The digest that it is to have; empty when it is to go. */
  readonly wanted: string;
  /** Ids of its items. */
  readonly passages: readonly string[];
}

/** A change that its marker has announced. */
interface Announced extends Change {
  readonly guard: Guard;
  /** What the document had, and will not have. */
  readonly stale: readonly string[];
}

const wantedBy = ({ document }: Change): string => document?.digest ?? "";

async function rewrite(context: Context, place: Collection, changes: readonly Change[]): Promise<void> {
  const announced = await announce(context, place, changes);
  const items = announced.flatMap((change) =>
    (change.document?.passages ?? []).map((passage) => ({ change, action: passageAction(place, change, passage) })),
  );
  const stale = announced.flatMap((change) =>
    change.stale.map((id) => ({ change, action: { verb: "delete", id } as const })),
  );
  const failures = new Map<Announced, BulkOutcome>();
  for (const part of [items, stale]) {
    const actions = part.filter(({ change }) => !failures.has(change));
    const outcomes = await bulk(context, actions);
    for (const [at, outcome] of outcomes.entries()) {
      const change = actions[at]?.change;
      if (change !== undefined && !isDone(outcome)) failures.set(change, outcome);
    }
  }
  // What is whole is finished although others failed: nothing of it is to be sent again.
  await finish(
    context,
    place,
    announced.filter((change) => !failures.has(change)),
  );
  for (const [{ id }, { status, reason }] of failures) {
    const what = `${failures.size} of ${changes.length} documents were not written: ${id}: ${status} ${reason}`;
    throw context.requests.failed(isForNow(status) ? "unavailable" : "internal", what);
  }
}

const bulk = ({ requests, signal }: Context, parts: readonly { readonly action: BulkAction }[]) =>
  sendBulk(
    requests,
    parts.map(({ action }) => action),
    signal,
  );

/** Removing what is not there is done. */
const isDone = ({ status }: BulkOutcome): boolean => status < 300 || status === 404;

async function announce(
  context: Context,
  place: Collection,
  changes: readonly Change[],
): Promise<readonly Announced[]> {
  const announced: Announced[] = [];
  let left = changes;
  for (let race = 0; left.length > 0 && race < RACES; race += 1) {
    const markers = await readMarkers(
      context,
      place,
      left.map(({ id }) => id),
    );
    const parts = left.flatMap((change) => {
      const { all, stale } = itemsOf(place, change, markers.get(change.id));
      const marker = markers.get(change.id);
      if (marker !== undefined && isAnnounced(marker, change, all)) {
        announced.push({ ...change, stale, guard: marker.guard });
        return [];
      }
      const action: BulkAction = {
        verb: marker === undefined ? "create" : "index",
        id: markerId(place, change.id),
        source: markerSource(place, change, { digest: "", passages: all }),
        guard: marker?.guard,
      };
      return [{ change, action, stale }];
    });
    const outcomes = await bulk(context, parts);
    left = parts.flatMap(({ change, stale }, at) => {
      const outcome = outcomes[at];
      if (outcome?.status === 409) return [change];
      if (outcome?.guard === undefined || outcome.status >= 300) throw refusedMarker(context, change, outcome);
      announced.push({ ...change, stale, guard: outcome.guard });
      return [];
    });
  }
  const [contended] = left;
  if (contended !== undefined) throw cameSecond(context, contended.id);
  return announced;
}

/** All items that a document had and is to have, and those of them that it is not to have. */
function itemsOf(place: Collection, { document }: Change, marker: Marker | undefined) {
  const kept = (document?.passages ?? []).map(({ id }) => passageId(place, id));
  const all = new Set([...(marker?.passages ?? []), ...kept]);
  return { all: [...all], stale: [...all.difference(new Set(kept))] };
}

/** By ourselves, when the reply was lost or an ingestion was cut off; or by another that brings the same. */
function isAnnounced({ digest, wanted, passages }: Marker, change: Change, all: readonly string[]): boolean {
  return digest === "" && wanted === wantedBy(change) && passages.length === all.length;
}

async function finish(context: Context, place: Collection, changes: readonly Announced[]): Promise<void> {
  const parts = changes.map((change) => {
    const passages = (change.document?.passages ?? []).map(({ id }) => passageId(place, id));
    const marker = { id: markerId(place, change.id), guard: change.guard };
    const action: BulkAction =
      change.document === undefined
        ? { verb: "delete", ...marker }
        : { verb: "index", ...marker, source: markerSource(place, change, { digest: wantedBy(change), passages }) };
    return { change, action };
  });
  const outcomes = await bulk(context, parts);
  const contended = parts.flatMap(({ change }, at) => {
    const outcome = outcomes[at];
    if (outcome !== undefined && isDone(outcome)) return [];
    if (outcome?.status !== 409) throw refusedMarker(context, change, outcome);
    return [change];
  });
  if (contended.length === 0) return;
  const markers = await readMarkers(
    context,
    place,
    contended.map(({ id }) => id),
  );
  // Else it is our own write whose reply was lost, or another ingestion that brings the same, and finishes it.
  const second = contended.filter((change) => (markers.get(change.id)?.wanted ?? "") !== wantedBy(change));
  const [first] = second;
  if (first === undefined) return;
  // What the marker of the other one does not name would stay for ever.
  const own = second.flatMap((change) => {
    const theirs = new Set(markers.get(change.id)?.passages);
    return itemsOf(place, change, undefined).all.filter((id) => !theirs.has(id));
  });
  await bulk(
    context,
    own.map((id) => ({ action: { verb: "delete", id } as const })),
  );
  throw cameSecond(context, first.id);
}

function refusedMarker({ requests }: Context, { id }: Change, outcome: BulkOutcome | undefined) {
  const { status = 500, reason = "" } = outcome ?? {};
  return requests.failed(isForNow(status) ? "unavailable" : "internal", `document ${id}: ${status} ${reason}`);
}

const cameSecond = ({ requests }: Context, id: string) =>
  requests.failed("conflict", `another ingestion writes the document ${id} at the same time: start this one again`);

const markersAnswer = z.object({
  docs: z.array(
    z.object({
      _id: z.string(),
      _seq_no: z.number().optional(),
      _primary_term: z.number().optional(),
      _source: z.object({ digest: z.string(), wanted: z.string(), passages: z.array(z.string()) }).optional(),
    }),
  ),
});

/** The markers there are, by the ids of their documents; also those that no search sees yet. */
async function readMarkers(
  { requests, signal }: Context,
  place: Collection,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Marker>> {
  const found = new Map<string, Marker>();
  for (let start = 0; start < ids.length; start += MARKERS) {
    const wanted = new Map(ids.slice(start, start + MARKERS).map((id) => [markerId(place, id), id]));
    const body = JSON.stringify({ ids: [...wanted.keys()] });
    const path = "_mget?_source_includes=digest,wanted,passages";
    const { status, json } = await requests.send({ method: "POST", path, body, signal, expected: [404] });
    if (status === 404) continue;
    const parsed = markersAnswer.safeParse(json);
    if (!parsed.success) throw requests.failed("unavailable", "answered with no documents", parsed.error);
    for (const { _id, _seq_no: seqNo, _primary_term: primaryTerm, _source: source } of parsed.data.docs) {
      const id = wanted.get(_id);
      if (id === undefined || source === undefined || seqNo === undefined || primaryTerm === undefined) continue;
      found.set(id, { ...source, guard: { seqNo, primaryTerm } });
    }
  }
  return found;
}

const idsAnswer = z.object({
  hits: z.object({
    hits: z.array(z.object({ _source: z.object({ about: z.string() }), sort: z.tuple([z.string()]) })),
  }),
});
const aboutDocument = z.object({ id: z.string() });

async function documentIds({ requests, signal }: Context, place: Collection): Promise<readonly string[]> {
  await refresh(requests, signal);
  const ids: string[] = [];
  for (let after: readonly string[] | undefined; ;) {
    const { status, json } = await requests.send({
      method: "POST",
      path: "_search",
      body: JSON.stringify({
        size: IDS_PAGE,
        _source: ["about"],
        query: { bool: { filter: [{ term: { kind: "document" } }, ...placeFilter(place)] } },
        sort: [{ document: "asc" }],
        ...(after === undefined ? {} : { search_after: after }),
      }),
      signal,
      expected: [404],
    });
    if (status === 404) return [];
    const { hits } = idsAnswer.parse(json).hits;
    ids.push(...hits.map(({ _source }) => aboutDocument.parse(JSON.parse(_source.about)).id));
    after = hits.at(-1)?.sort;
    if (hits.length < IDS_PAGE) return ids;
  }
}

/** Makes what was written visible to searches. Serverless has no such request, and does it by itself. */
export async function refresh(requests: OpenSearchRequests, signal?: AbortSignal): Promise<void> {
  await requests.send({ method: "POST", path: "_refresh", signal, expected: [404] });
}

/** What every query of every kind is bound to (I8). */
export function placeFilter({ tenant, collection }: Collection): readonly object[] {
  return [{ term: { tenant } }, { term: { collection } }];
}

/** A label as a search finds it: exact, whatever its name and value are, and always short. */
export const labelTerm = (name: string, value: string): string => sha256(JSON.stringify([name, value]));

function passageAction(place: Collection, { id, document }: Change, passage: IndexedPassage): BulkAction {
  const { title = "", labels = {} } = document ?? {};
  const { section, offsets, text, vector } = passage;
  const about = { id: passage.id, documentId: id, title, section, offsets, labels };
  return {
    verb: "index",
    id: passageId(place, passage.id),
    source: {
      kind: "passage",
      tenant: place.tenant,
      collection: place.collection,
      document: markerId(place, id),
      labels: labelTerms(labels),
      heading: `${title} ${section}`.toWellFormed(),
      text: text.toWellFormed(),
      // As text: exact, and no field of the index.
      about: JSON.stringify(about),
      ...(vector === undefined || !vector.some((number) => number !== 0) ? {} : { vector: shortNumbers(vector) }),
    },
  };
}

const labelTerms = (labels: Labels): readonly string[] =>
  Object.entries(labels).map(([name, value]) => labelTerm(name, value));

/** As many digits as a float has, which is half of what JSON would write. */
export const shortNumbers = (vector: Float32Array): readonly number[] =>
  Array.from(vector, (number) => Number(number.toPrecision(9)));

function markerSource(
  { tenant, collection }: Collection,
  change: Change,
  { digest, passages }: Pick<Marker, "digest" | "passages">,
): object {
  const document = markerId({ tenant, collection }, change.id);
  const about = JSON.stringify({ id: change.id });
  return { kind: "document", tenant, collection, document, about, digest, wanted: wantedBy(change), passages };
}

const markerId = ({ tenant, collection }: Collection, id: string): string =>
  sha256(JSON.stringify(["document", tenant, collection, id]));

const passageId = ({ tenant, collection }: Collection, id: string): string =>
  sha256(JSON.stringify(["passage", tenant, collection, id]));

/**
 * Documents in an OpenSearch index. OpenSearch changes one item at a time, so a document is several items: its passages,
 * and a *marker* that says which passages it has. What must stay true:
 * 1. A marker with a digest stands for a document that is there whole: it gets the digest after everything else.
 * 2. Before a passage is written or removed, the marker names all that the document had and is to have, so that nothing
 *    of a write that was cut off stays when the document is written or removed the next time.
 * 3. Every marker is written on the version that was read: of two that write one document at the same time, one knows that
 *    it came second, and of the other's version nothing stays.
 * 4. An item's id is made of tenant, collection and content (I8): the same write twice is one, and no tenant's write can
 *    land on an item of another.
 */
import { z } from "zod";
import { sha256 } from "../core/ids.ts";
import type { DocumentIndex, IndexedPassage } from "../retrieval/ingest.ts";
import type { Collection, Labels } from "../retrieval/retriever.ts";
import { PARTIAL, checkWhole, fromJson, searchSpan } from "./opensearch-answers.ts";
import { sendBulk } from "./opensearch-bulk.ts";
import type { BulkAction, BulkOutcome, Guard } from "./opensearch-bulk.ts";
import { MARKERS, markerId, markerSource, passageId, readMarkers, wantedBy } from "./opensearch-markers.ts";
import type { Change, Context, Marker } from "./opensearch-markers.ts";
import { isForNow } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

const IDS_PAGE = 1_000;
/** How often a marker is read anew because somebody else wrote it meanwhile. */
const RACES = 5;

/**
 * The documents of the index, for one ingestion or one removal: its requests end with the signal, but for those of
 * `replace`, whose vectors were paid for.
 */
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
        { requests, signal: undefined },
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

/** A change that its marker has announced. */
interface Announced extends Change {
  readonly guard: Guard;
  /** What the document had, and will not have. */
  readonly stale: readonly string[];
}

/** Of two that write one document at the same time, who comes second writes it again, over the other's. */
async function rewrite(context: Context, place: Collection, changes: readonly Change[]): Promise<void> {
  let left = changes;
  for (let race = 0; left.length > 0 && race < RACES; race += 1) left = await rewriteOnce(context, place, left);
  const [contended] = left;
  if (contended !== undefined) throw cameSecond(context, contended.id);
}

/** Returns the changes that came second. */
async function rewriteOnce(
  context: Context,
  place: Collection,
  changes: readonly Change[],
): Promise<readonly Change[]> {
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
  const whole = announced.filter((change) => !failures.has(change));
  const second = await finish(context, place, whole);
  for (const [{ id }, { status, reason }] of failures) {
    const what = `${failures.size} of ${changes.length} documents were not written: ${id}: ${status} ${reason}`;
    throw context.requests.failed(isForNow(status) ? "unavailable" : "internal", what);
  }
  return second;
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

/** Returns the changes that came second: of these nothing is left. */
async function finish(context: Context, place: Collection, changes: readonly Announced[]): Promise<readonly Change[]> {
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
  const markers = await readMarkers(
    context,
    place,
    contended.map(({ id }) => id),
  );
  // Else it is our own write whose reply was lost, or another ingestion that brings the same, and finishes it.
  const second = contended.filter((change) => (markers.get(change.id)?.wanted ?? "") !== wantedBy(change));
  // What the marker of the other one does not name would stay for ever.
  const own = second.flatMap((change) => {
    const theirs = new Set(markers.get(change.id)?.passages);
    return itemsOf(place, change, undefined).all.filter((id) => !theirs.has(id));
  });
  await bulk(
    context,
    own.map((id) => ({ action: { verb: "delete", id } as const })),
  );
  return second;
}

function refusedMarker({ requests }: Context, { id }: Change, outcome: BulkOutcome | undefined) {
  const { status = 500, reason = "" } = outcome ?? {};
  return requests.failed(isForNow(status) ? "unavailable" : "internal", `document ${id}: ${status} ${reason}`);
}

const cameSecond = ({ requests }: Context, id: string) =>
  requests.failed("conflict", `others write the document ${id} again and again: ingest it when they are done`);

const aboutDocument = fromJson.pipe(z.object({ id: z.string() }));
const idsAnswer = searchSpan.extend({
  hits: z.object({
    hits: z.array(z.object({ _source: z.object({ about: aboutDocument }), sort: z.tuple([z.string()]) })),
  }),
});

async function documentIds({ requests, signal }: Context, place: Collection): Promise<readonly string[]> {
  await refresh(requests, signal);
  const ids: string[] = [];
  for (let after: readonly string[] | undefined; ;) {
    const { status, json } = await requests.send({
      method: "POST",
      path: `_search?${PARTIAL}=false`,
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
    const parsed = idsAnswer.safeParse(json);
    if (!parsed.success)
      throw requests.failed("unavailable", "answered with documents that cannot be read", parsed.error);
    checkWhole(requests, parsed.data);
    const { hits } = parsed.data.hits;
    ids.push(...hits.map(({ _source }) => _source.about.id));
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
  const heading = `${title} ${section}`.toWellFormed();
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
      // A word in a title says more about a document than the same word somewhere in its text: it counts twice.
      heading: [heading, heading],
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

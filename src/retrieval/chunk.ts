/**
 * Dividing a document into passages, as pure functions. What must stay true, whatever the text:
 * passages are ranges of the text, in order, disjoint, none empty or longer than the limit, none beginning or ending
 * inside a character, and between them lies nothing but white space. (A document of a title and nothing else has one
 * empty passage, so that it can be found; one with neither has none.)
 */
import { sha256 } from "../core/ids.ts";
import type { DocumentFormat, Offsets, SourceDocument } from "./retriever.ts";

/** Sizes in UTF-16 code units. */
export interface ChunkLimits {
  /** No passage is longer. At least 2, so that every character fits. */
  readonly most: number;
  /** A section shorter than this is joined to the next one, if both fit. */
  readonly least: number;
}

/** A record is one passage as long as that is sensible; prose is divided by its sections. */
export const DEFAULT_LIMITS: Readonly<Record<DocumentFormat, ChunkLimits>> = {
  markdown: { most: 1_600, least: 160 },
  text: { most: 1_600, least: 160 },
  record: { most: 8_000, least: 0 },
};

/** A passage before it is in an index. */
export interface Chunk {
  readonly id: string;
  readonly section: string;
  readonly offsets: Offsets;
  readonly text: string;
}

/** The passages of a document, in its order. */
export function chunkDocument(document: SourceDocument, limits = DEFAULT_LIMITS[document.format]): readonly Chunk[] {
  const { id, title, text, format } = document;
  const sections = format === "markdown" ? markdownSections(text) : [{ start: 0, end: text.length, trail: [] }];
  const ranges = sections.flatMap(({ trail, ...range }) =>
    fit(text, trimmed(text, range), limits.most).map((piece) => ({ ...piece, trail })),
  );
  const passages = joinShort(text, ranges, limits);
  if (passages.length === 0 && title.trim() !== "") passages.push({ start: 0, end: 0, trail: [] });
  return passages.map(({ trail, ...offsets }) => {
    const section = trail.join(" › ");
    const said = text.slice(offsets.start, offsets.end);
    return { id: sha256(JSON.stringify([id, title, section, offsets.start, said])), section, offsets, text: said };
  });
}

interface Section extends Offsets {
  /** Headings above the section's text, its own included, the document's title (a first `#`) left out. */
  readonly trail: readonly string[];
}

const HEADING = /^ {0,3}(#{1,6})[ \t]+(.{1,200})$/;
const FENCE = /^ {0,3}(```|~~~)/;

function markdownSections(text: string): readonly Section[] {
  const sections: Section[] = [];
  const trail: { level: number; name: string }[] = [];
  let fence: string | undefined;
  let start = 0;
  const close = (end: number): void => {
    if (end > start) sections.push({ start, end, trail: trail.map(({ name }) => name) });
    start = end;
  };
  for (const { line, at } of lines(text)) {
    const mark = FENCE.exec(line)?.[1];
    if (mark !== undefined && (fence === undefined || fence === mark)) fence = fence === undefined ? mark : undefined;
    const heading = fence === undefined ? HEADING.exec(line) : null;
    if (heading === null) continue;
    close(at);
    const level = heading[1]?.length ?? 1;
    while ((trail.at(-1)?.level ?? 0) >= level) trail.pop();
    if (level > 1) trail.push({ level, name: (heading[2] ?? "").replace(/[ \t]#{1,6}$/, "").trim() });
  }
  close(text.length);
  return sections;
}

function* lines(text: string): Generator<{ readonly line: string; readonly at: number }> {
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    yield { line: text.slice(at, end).replace(/\r$/, ""), at };
    at = end + 1;
  }
}

function trimmed(text: string, { start, end }: Offsets): Offsets {
  const said = text.slice(start, end);
  const from = start + (said.length - said.trimStart().length);
  return { start: from, end: Math.max(from, end - (said.length - said.trimEnd().length)) };
}

/** Where a text may be cut, from the kindest place to the last resort. */
const CUTS: readonly RegExp[] = [/\n[ \t]*\n\s*/g, /(?<=[.!?])["')\]]*\s+/g, /\s+/g];

/** A range as pieces of at most `most`, cut at the last kind place of each. */
function fit(text: string, range: Offsets, most: number): readonly Offsets[] {
  const pieces: Offsets[] = [];
  let rest = range;
  while (rest.end - rest.start > most) {
    const end = rest.start + cutOf(text.slice(rest.start, rest.start + most + 1), most);
    pieces.push(trimmed(text, { start: rest.start, end }));
    rest = trimmed(text, { start: end, end: rest.end });
  }
  if (rest.end > rest.start) pieces.push(rest);
  return pieces;
}

/** A piece below a third of the limit is not worth a kind cut. */
const WORTH = 1 / 3;

function cutOf(ahead: string, most: number): number {
  for (const cut of CUTS) {
    const places = Array.from(ahead.matchAll(cut), ({ index }) => index).filter((at) => at <= most);
    const last = places.at(-1);
    if (last !== undefined && last >= most * WORTH) return last;
  }
  const insidePair = /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(ahead.slice(most - 1, most + 1));
  return insidePair && most > 1 ? most - 1 : most;
}

/** What is joined stands under the headings that all of it has; a heading alone stands under those of what follows it. */
function joinShort(text: string, ranges: readonly Section[], { most, least }: ChunkLimits): Section[] {
  const joined: Section[] = [];
  for (const range of ranges) {
    const before = joined.at(-1);
    if (before !== undefined && before.end - before.start < least && range.end - before.start <= most) {
      const isBare = isHeading(text.slice(before.start, before.end));
      const trail = isBare ? range.trail : common(before.trail, range.trail);
      joined[joined.length - 1] = { start: before.start, end: range.end, trail };
    } else {
      joined.push(range);
    }
  }
  return joined;
}

const isHeading = (said: string): boolean => said.split("\n").every((line) => line.trim() === "" || HEADING.test(line));

function common(one: readonly string[], other: readonly string[]): readonly string[] {
  const differs = one.findIndex((name, at) => name !== other[at]);
  return differs < 0 ? one : one.slice(0, differs);
}

import type { Citation, GroundingPassage, TextRange } from "./model.ts";

/** Something that a passage says and that can be quoted: a sentence, a point of a list, a row of a table. */
export interface Statement {
  readonly passage: GroundingPassage;
  /** Where it stands in the passage's text. */
  readonly range: TextRange;
  /** As it is to be read, without the marks of Markdown. A point or a row has before it what leads into it. */
  readonly shown: string;
  /** What it says itself. */
  readonly words: string;
  /** The heading that it stands under; empty above the first. */
  readonly heading: string;
  /** What stands above it: title, headings, the head of its table, the line that leads into its list. */
  readonly context: string;
}

/** The citation of a range of a passage's text, under this number. */
export function citationOf(passage: GroundingPassage, { start, end }: TextRange, number: number): Citation {
  const { id: passageId, documentId, title, section, text, offsets } = passage;
  return {
    number,
    passageId,
    documentId,
    title,
    section,
    quote: text.slice(start, end),
    offsets: { start: offsets.start + start, end: offsets.start + end },
  };
}

interface Line {
  readonly text: string;
  readonly start: number;
}

interface Place {
  readonly passage: GroundingPassage;
  heading: string;
  tableHead: readonly string[];
  leadIn: string;
}

const HEADING = /^ {0,3}#{1,6}[ \t]+/;
const POINT = /^\s*(?:[-*+]|\d{1,3}[.)])\s+/;
const ROW = /^\s*\|.*\|\s*$/;
const RULE = /^[\s|:-]+$/;

/** Everything that a passage says, in its order. */
export function statementsOf(passage: GroundingPassage): readonly Statement[] {
  const place: Place = { passage, heading: lastOf(passage.section), tableHead: [], leadIn: "" };
  const statements: Statement[] = [];
  let paragraph: Line[] = [];
  const flush = (): void => {
    statements.push(...sentences(paragraph, place));
    paragraph = [];
  };
  for (const line of linesOf(passage.text)) {
    if (isProse(line.text)) {
      paragraph.push(line);
      continue;
    }
    flush();
    if (!ROW.test(line.text)) place.tableHead = [];
    if (HEADING.test(line.text)) {
      place.heading = plain(line.text.replace(HEADING, ""));
      place.leadIn = "";
    } else if (ROW.test(line.text)) statements.push(...row(line, place));
    else if (POINT.test(line.text)) statements.push(point(line, place));
  }
  flush();
  return statements;
}

const isProse = (text: string): boolean =>
  text.trim() !== "" && !HEADING.test(text) && !ROW.test(text) && !POINT.test(text);

const lastOf = (section: string): string => section.split(" › ").at(-1) ?? "";

function* linesOf(text: string): Generator<Line> {
  let start = 0;
  for (const line of text.split("\n")) {
    yield { text: line, start };
    start += line.length + 1;
  }
}

/** Text without emphasis, code marks and the targets of links. */
function plain(text: string): string {
  return text
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\*\*|__|`/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

function contextOf({ passage, heading, leadIn, tableHead }: Place): string {
  return [passage.title, passage.section, heading, leadIn, ...tableHead].join(" ");
}

const SEGMENTER_LOCALE = "en";

function sentences(lines: readonly Line[], place: Place): readonly Statement[] {
  const [first] = lines;
  if (first === undefined) return [];
  // A line break inside a paragraph is a space; lengths stay as they are.
  const text = lines.map((line) => line.text).join(" ");
  place.tableHead = [];
  const segments = [...new Intl.Segmenter(SEGMENTER_LOCALE, { granularity: "sentence" }).segment(text)];
  const said = segments.flatMap(({ segment, index }) => {
    const start = first.start + index + (segment.length - segment.trimStart().length);
    const body = segment.trim();
    if (!/[\p{L}\p{N}]/u.test(body)) return [];
    const shown = plain(body);
    return [
      {
        passage: place.passage,
        range: { start, end: start + body.length },
        shown,
        words: shown,
        heading: place.heading,
        context: "",
      },
    ];
  });
  place.leadIn = "";
  const statements = said.map((statement) => ({ ...statement, context: contextOf(place) }));
  const last = statements.at(-1);
  if (last?.shown.endsWith(":") !== true) return statements;
  // What only leads into a list or a table is said with each of its points.
  place.leadIn = last.shown;
  return statements.slice(0, -1);
}

function point({ text, start }: Line, place: Place): Statement {
  const mark = POINT.exec(text)?.[0].length ?? 0;
  const words = plain(text.slice(mark));
  return {
    passage: place.passage,
    range: { start: start + mark, end: start + text.trimEnd().length },
    shown: `${introduced(place)}${words}`,
    words,
    heading: place.heading,
    context: contextOf(place),
  };
}

function row({ text, start }: Line, place: Place): readonly Statement[] {
  if (RULE.test(text)) return [];
  const cells = text.trim().slice(1, -1).split("|").map(plain);
  if (place.tableHead.length === 0) {
    place.tableHead = cells;
    return [];
  }
  const [name = "", ...rest] = cells;
  const facts = rest.map((cell, index) => {
    const head = place.tableHead[index + 1] ?? "";
    return head === "" || rest.length === 1 ? cell : `${head}: ${cell}`;
  });
  const from = start + (text.length - text.trimStart().length);
  return [
    {
      passage: place.passage,
      range: { start: from, end: start + text.trimEnd().length },
      shown: `${introduced(place)}${name}: ${facts.join("; ")}.`,
      words: cells.join(" "),
      heading: place.heading,
      context: contextOf(place),
    },
  ];
}

function introduced({ heading, leadIn }: Place): string {
  if (leadIn !== "") return `${leadIn} `;
  return heading === "" ? "" : `${heading}: `;
}

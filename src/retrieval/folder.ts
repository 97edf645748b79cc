/**
 * A folder of documents: Markdown, plain text, and JSON lines in the layout of the BEIR collections.
 * Nothing outside the folder is ever read: links are not followed, also when one appears while reading.
 */
import { constants } from "node:fs";
import type { Dirent } from "node:fs";
import { open, readdir, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, extname, join, relative, sep } from "node:path";
import { z } from "zod";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { decoded, encodingOf } from "./encoding.ts";
import type { Encoding } from "./encoding.ts";
import { linesOf } from "./lines.ts";
import type { Line } from "./lines.ts";
import type { DocumentFormat, Labels, SourceDocument } from "./retriever.ts";

/** A file that was left out, and why. */
export interface SkippedFile {
  /** Path within the folder. */
  readonly path: string;
  readonly reason: string;
}

/** The documents that a folder held when it was opened. */
export interface DocumentFolder {
  readonly total: number;
  readonly skipped: readonly SkippedFile[];
  /**
   * Reads the documents. A Markdown or text file has its path within the folder as id; a JSON line has its `_id`.
   * @throws HoldpointError `invalid` for a malformed or repeated line, naming file and line, and for a file that has
   * changed since into what would have been left out
   */
  documents(signal?: AbortSignal): AsyncIterable<SourceDocument>;
}

interface Found {
  readonly path: string;
  readonly kind: DocumentFormat;
}

const KINDS: Readonly<Record<string, DocumentFormat>> = {
  ".md": "markdown",
  ".markdown": "markdown",
  ".txt": "text",
  ".text": "text",
  ".jsonl": "record",
  ".ndjson": "record",
};

/** A Markdown or text file above this, or one line of JSON, is not something that a person wrote to be read. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Lists the folder and counts its documents.
 * @throws HoldpointError `invalid` when it is not a readable folder
 */
export async function openFolder(folder: string): Promise<DocumentFolder> {
  const root = await realpath(folder).catch((cause: unknown) => {
    throw new HoldpointError("invalid", `${folder} is not a folder of documents`, { cause });
  });
  const skipped: SkippedFile[] = [];
  const found: Found[] = [];
  let total = 0;
  for await (const file of walk(root, root, skipped)) {
    const counted = await inspect(root, file);
    if ("reason" in counted) {
      skipped.push({ path: file.path, reason: counted.reason });
      continue;
    }
    found.push(file);
    total += counted.documents;
  }
  return { total, skipped, documents: (signal) => readAll(root, found, signal) };
}

async function* walk(root: string, folder: string, skipped: SkippedFile[]): AsyncGenerator<Found> {
  const entries = (await listing(folder)).filter(({ name }) => !name.startsWith("."));
  const hasCorpus = entries.some(({ name }) => name === "corpus.jsonl");
  for (const entry of entries) {
    const full = join(folder, entry.name);
    const path = relative(root, full).split(sep).join("/");
    const kind = KINDS[extname(entry.name).toLowerCase()];
    if (entry.isDirectory()) yield* walk(root, full, skipped);
    else if (entry.isSymbolicLink()) skipped.push({ path, reason: await whyLinkIsSkipped(root, full) });
    else if (!entry.isFile()) skipped.push({ path, reason: "not a regular file" });
    else if (kind === undefined) skipped.push({ path, reason: whyKindIsSkipped(entry.name) });
    else if (kind === "record" && hasCorpus && entry.name !== "corpus.jsonl") {
      skipped.push({ path, reason: "beside a corpus.jsonl, which is what holds the documents" });
    } else yield { path, kind };
  }
}

async function listing(folder: string): Promise<readonly Dirent[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw new HoldpointError("invalid", `${folder} cannot be read as a folder`, { cause });
  }
}

const A_PDF = "a PDF, whose text is not read: convert it to Markdown or text";

const whyKindIsSkipped = (name: string): string =>
  extname(name).toLowerCase() === ".pdf" ? A_PDF : "not Markdown, text or JSON lines";

async function whyLinkIsSkipped(root: string, link: string): Promise<string> {
  const target = await realpath(link).catch(() => undefined);
  if (target === undefined) return "a link that leads nowhere";
  return target === root || target.startsWith(root + sep)
    ? "a link to what is read in its own place"
    : "a link that leads out of the folder";
}

type Inspected = { readonly documents: number } | { readonly reason: string };

/** Reads all of a file, so that what is wrong with it is known before anything is ingested. */
async function inspect(root: string, { path, kind }: Found): Promise<Inspected> {
  await using file = await openFile(root, path);
  const { size } = await file.stat();
  if (kind !== "record" && size > MOST_BYTES) return { reason: `larger than ${MOST_BYTES / 1024 / 1024} MB` };
  const head = await headOf(file);
  const encoding = encodingOf(head);
  if (head.subarray(0, PDF.length).equals(PDF)) return { reason: A_PDF };
  if (encoding === "utf-8" && head.includes(0)) return { reason: "binary" };
  let documents = 0;
  try {
    for await (const { text } of fileLines(file, path, encoding)) {
      if (text.includes("\0")) return { reason: "binary" };
      if (text.trim() !== "") documents += 1;
    }
  } catch (error) {
    if (isHoldpointError(error, "invalid")) return { reason: `not ${encoding.toUpperCase()}: convert it to UTF-8` };
    throw error;
  }
  return { documents: kind === "record" ? documents : 1 };
}

const PDF = Buffer.from("%PDF-");
const HEAD_BYTES = 8_192;

async function headOf(file: FileHandle): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}

async function openFile(root: string, path: string): Promise<FileHandle> {
  try {
    return await open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new HoldpointError("invalid", `${path} cannot be read`, { cause });
  }
}

function fileLines(file: FileHandle, path: string, encoding: Encoding): AsyncIterable<Line> {
  return linesOf(textOf(file, path, encoding), { name: path, mostChars: MOST_BYTES });
}

function textOf(file: FileHandle, path: string, encoding: Encoding): AsyncIterable<string> {
  const pieces = file.createReadStream({ start: 0, autoClose: false });
  return decoded(pieces as AsyncIterable<Buffer>, { encoding, name: path });
}

async function* readAll(
  root: string,
  files: readonly Found[],
  signal: AbortSignal | undefined,
): AsyncGenerator<SourceDocument> {
  const origins = new Map<string, string>();
  for (const found of files) {
    await using file = await openFile(root, found.path);
    for await (const { document, origin } of documentsOf(file, found)) {
      signal?.throwIfAborted();
      const before = origins.get(document.id);
      if (before !== undefined) {
        throw new HoldpointError("invalid", `${origin}: the id ${document.id} is already taken by ${before}`);
      }
      origins.set(document.id, origin);
      yield document;
    }
  }
}

interface Read {
  readonly document: SourceDocument;
  readonly origin: string;
}

async function* documentsOf(file: FileHandle, { path, kind }: Found): AsyncGenerator<Read> {
  const folder = dirname(path);
  const labels = { source: path, folder: folder === "." ? "" : folder };
  const encoding = encodingOf(await headOf(file));
  if (kind === "record") {
    for await (const line of fileLines(file, path, encoding)) {
      const origin = `${path}:${line.line}`;
      if (line.text.trim() !== "") yield { document: parseRecord(line.text, origin, labels), origin };
    }
    return;
  }
  const text = (await Array.fromAsync(textOf(file, path, encoding))).join("");
  yield { document: { id: path, title: titleOf(text, path, kind), text, format: kind, labels }, origin: path };
}

function titleOf(text: string, path: string, kind: DocumentFormat): string {
  const heading = kind === "markdown" ? /^# +(.{1,200})$/m.exec(text)?.[1]?.trim() : undefined;
  return heading ?? basename(path, extname(path));
}

const RecordLine = z.object({
  _id: z.union([z.string().min(1), z.number()]).transform(String),
  title: z.string().nullish(),
  text: z.string(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

function parseRecord(line: string, origin: string, base: Labels): SourceDocument {
  let json: unknown;
  try {
    json = JSON.parse(line.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new HoldpointError("invalid", `${origin}: this line is not JSON`, { cause });
  }
  const parsed = RecordLine.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue?.path.join(".") || "the line";
    throw new HoldpointError("invalid", `${origin}: ${where}: ${issue?.message ?? "not understood"}`);
  }
  const { _id: id, title, text, metadata } = parsed.data;
  return { id, title: title ?? "", text, format: "record", labels: { ...base, ...labelsOf(metadata ?? {}) } };
}

function labelsOf(metadata: Readonly<Record<string, unknown>>): Labels {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([name, value]) =>
      typeof value === "string" || typeof value === "number" || typeof value === "boolean"
        ? [[name, String(value)]]
        : [],
    ),
  );
}

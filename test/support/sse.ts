/** Server-sent events as a client of another make would read them. */
export interface ReadEvent {
  readonly event: string;
  readonly data: unknown;
  readonly id?: string;
}

/** Reads a response piece by piece, so that a test can look at a stream while it is open. */
export class SseReader {
  readonly #reader: ReadableStreamDefaultReader<string>;
  /** Everything received so far, as it came. */
  text = "";
  ended = false;
  failure: unknown;

  constructor(response: Response) {
    if (!response.body) throw new Error("the response has no body");
    this.#reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    void this.#pump();
  }

  async #pump(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        this.text += value;
      }
    } catch (error) {
      this.failure = error;
    }
    this.ended = true;
  }

  /** Complete frames that carry an event; comments are not among them. */
  events(): ReadEvent[] {
    return parseEvents(this.text);
  }

  comments(): number {
    return this.text.split("\n").filter((line) => line.startsWith(":")).length;
  }
}

export function parseEvents(text: string): ReadEvent[] {
  return text
    .split("\n\n")
    .slice(0, -1)
    .flatMap((frame) => {
      const fields = new Map(
        frame.split("\n").map((line) => {
          const colon = line.indexOf(": ");
          return [line.slice(0, colon), line.slice(colon + 2)] as const;
        }),
      );
      const event = fields.get("event");
      const id = fields.get("id");
      if (event === undefined) return [];
      return [
        { event, data: JSON.parse(fields.get("data") ?? "null") as unknown, ...(id === undefined ? {} : { id }) },
      ];
    });
}

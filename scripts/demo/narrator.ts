/** Tells the story at a terminal and keeps account of what was checked. */
export interface Narrator {
  /** Begins the next numbered step. */
  step(title: string): void;
  say(text: string): void;
  /** Somebody's words: a question, an answer, a reply of the API. */
  quote(who: string, text: string): void;
  /** Shows work that takes its time, on one line that is overwritten at a terminal. */
  progress(text: string): void;
  /** @throws CheckFailed when it does not hold */
  check(claim: string, holds: boolean, found?: unknown): void;
  /** Every claim that was checked, in order. */
  readonly checks: readonly { readonly step: string; readonly claim: string; readonly holds: boolean }[];
  /** The step that is being told. */
  readonly current: string;
  readonly style: Style;
}

/** A claim of the story that did not hold. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

export type Style = Readonly<Record<"bold" | "dim" | "green" | "red" | "cyan" | "yellow", (text: string) => string>>;

export interface Terminal {
  readonly write: (text: string) => void;
  readonly isTTY: boolean;
  readonly colours: boolean;
  readonly columns: number;
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

function styleOf(colours: boolean): Style {
  const paint = (code: number) => (text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
  return {
    bold: paint(CODES.bold),
    dim: paint(CODES.dim),
    red: paint(CODES.red),
    green: paint(CODES.green),
    yellow: paint(CODES.yellow),
    cyan: paint(CODES.cyan),
  };
}

export function createNarrator(terminal: Terminal): Narrator {
  const style = styleOf(terminal.colours);
  const checks: { step: string; claim: string; holds: boolean }[] = [];
  const width = Math.min(100, Math.max(60, terminal.columns));
  let steps = 0;
  let current = "the start";
  let unfinished = false;

  const line = (text: string): void => {
    if (unfinished) terminal.write("\n");
    unfinished = false;
    terminal.write(`${text}\n`);
  };
  const paragraph = (text: string, indent: string, paint: (text: string) => string): void => {
    for (const part of wrapped(text, width - indent.length)) line(`${indent}${paint(part)}`);
  };
  return {
    style,
    checks,
    get current() {
      return current;
    },
    step(title) {
      steps++;
      current = `${steps}. ${title}`;
      line(`\n${style.bold(current)}`);
    },
    say: (text) => paragraph(text, "   ", (part) => part),
    quote(who, text) {
      line(`   ${style.dim(`${who}:`)}`);
      paragraph(text, "     ", style.cyan);
    },
    progress(text) {
      if (!terminal.isTTY) return line(`   ${text}`);
      terminal.write(`\r\u001b[K   ${text}`);
      unfinished = true;
    },
    check(claim, holds, found) {
      checks.push({ step: current, claim, holds });
      line(`   ${holds ? style.green("✓") : style.red("✗")} ${claim}`);
      if (holds) return;
      const detail = found === undefined ? "" : `; found ${typeof found === "string" ? found : JSON.stringify(found)}`;
      throw new CheckFailed(`${claim}${detail}`);
    },
  };
}

function wrapped(text: string, width: number): string[] {
  return text.split("\n").flatMap((source) => {
    const lines: string[] = [];
    let current = "";
    for (const word of source.split(" ")) {
      if (current !== "" && current.length + word.length + 1 > width) {
        lines.push(current);
        current = "";
      }
      current = current === "" ? word : `${current} ${word}`;
    }
    return [...lines, current];
  });
}

/** The command line of a benchmark: each option has a default and a sentence, and `--help` is made of them. */
import { parseArgs } from "node:util";

export interface Option {
  readonly fallback: number | string;
  readonly says: string;
}

export interface CommandLine<Options extends Readonly<Record<string, Option>>> {
  readonly name: string;
  /** What the benchmark measures, and the arguments with which it is worth publishing: `docs/benchmarks.md` says which were used. */
  readonly about: string;
  readonly options: Options;
}

export type OptionValues<Options extends Readonly<Record<string, Option>>> = {
  readonly [Name in keyof Options]: Options[Name]["fallback"] extends number ? number : string;
};

/** The options as they were given; undefined after printing the help that was asked for. @throws Error on an unknown one */
export function readOptions<const Options extends Readonly<Record<string, Option>>>(
  line: CommandLine<Options>,
  argv: readonly string[],
): OptionValues<Options> | undefined {
  const names = Object.keys(line.options);
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: "boolean", short: "h" },
      ...Object.fromEntries(names.map((name) => [name, { type: "string" } as const])),
    },
  });
  const given: Readonly<Record<string, string | boolean | undefined>> = values;
  if (given["help"] === true) {
    console.log(helpOf(line));
    return undefined;
  }
  const read = Object.entries(line.options).map(([name, { fallback }]) => {
    const text = given[name];
    if (typeof text !== "string") return [name, fallback];
    if (typeof fallback === "string") return [name, text];
    if (text.trim() === "" || !(Number(text) >= 0)) throw new Error(`--${name} takes a number, not '${text}'`);
    return [name, Number(text)];
  });
  // Built from the very names and kinds that the type is made of.
  return Object.fromEntries(read) as OptionValues<Options>;
}

function helpOf({ name, about, options }: CommandLine<Readonly<Record<string, Option>>>): string {
  const width = Math.max(...Object.keys(options).map((option) => option.length));
  const rows = Object.entries(options).map(
    ([option, { fallback, says }]) => `  --${option.padEnd(width)}  ${says} (default: ${fallback})`,
  );
  return [`npm run bench -- ${name} [options]`, "", about, "", ...rows].join("\n");
}

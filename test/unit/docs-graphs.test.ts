/** Each piece of code in docs/graphs.md stands in a file that is executed here, or in another test. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readGraphConfig } from "../../src/langgraph/graph-config.ts";
import { outcomeValue, waitOf } from "../../src/core/wait-value.ts";
import { listen } from "../support/http.ts";
import { testFolder } from "../support/process.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { decision } from "../support/tool-graphs.ts";
import { refundDesk } from "./graphs/refund-desk.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const GUIDE = read("../../docs/graphs.md");
/** By this test and by tool-node.test.ts. */
const EXECUTED = ["./graphs/refund-desk.ts", "./graphs/tool-calls.ts"].map(read);

const blocks = (language: string): readonly string[] =>
  [...GUIDE.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(([, text = ""]) => text);
/** Without indentation: a piece may stand in a function. */
const flat = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trim())
    .join("\n")
    .trim();

describe("a piece of code in docs/graphs.md", () => {
  it("stands in a file that is executed, with everything that it imports", () => {
    const pieces = blocks("ts");
    expect(pieces.length).toBeGreaterThanOrEqual(4);
    for (const piece of pieces) {
      const code = flat(piece.replaceAll(/^import .*?;\n/gm, ""));
      const file = EXECUTED.find((one) => flat(one).includes(code));
      expect(file, `no executed file has\n${piece}`).toBeDefined();
      for (const [, names = ""] of piece.matchAll(/^import \{ (.*?) \} from "holdpoint\/graph";/gm))
        for (const name of names.split(", "))
          expect(file).toMatch(new RegExp(`import .*\\b${name}\\b.*holdpoint/graph`));
    }
  });

  it("that is a langgraph.json is one", async () => {
    await using folder = await testFolder();
    const path = join(folder.path, "langgraph.json");
    const configs = blocks("json");
    expect(configs).toHaveLength(2);
    for (const config of configs) {
      await writeFile(path, config);
      expect((await readGraphConfig(path)).graphs.map(({ graphId }) => graphId)).toEqual(["desk"]);
    }
  });
});

describe("the desk of docs/graphs.md", () => {
  /** A ledger that is away for so many calls. */
  async function playWith(failures: number) {
    const paid: string[] = [];
    let calls = 0;
    await using ledger = await listen(
      createServer((request, response) => {
        request.resume().on("end", () => {
          calls += 1;
          if (calls <= failures) return void response.writeHead(422).end();
          paid.push(String(request.headers["idempotency-key"]));
          response.end("R-1");
        });
      }),
    );
    const thread = new DrivenThread(refundDesk(ledger.url));
    const waits: string[] = [];
    let last = await thread.invoke({ order: "A-1001", amount: 250 });
    for (let [asked] = interruptsOf(last.outcome); asked; [asked] = interruptsOf(last.outcome)) {
      const isTimer = waitOf(asked.value) !== undefined;
      waits.push(isTimer ? "timer" : "review");
      const answer = isTimer ? outcomeValue({ kind: "fired" }) : decision(asked.value, { type: "approve" });
      last = await thread.resume({ [asked.id]: answer }, isTimer ? { run: last.run } : {});
    }
    return { outcome: last.outcome, waits, paid, values: await valuesOf(thread) };
  }

  it("asks, and pays once what was approved", async () => {
    const { outcome, waits, paid, values } = await playWith(0);
    expect([outcome, waits, paid.length]).toEqual([{ kind: "done" }, ["review"], 1]);
    expect(values).toMatchObject({ receipt: "R-1" });
  });

  it("tries a refused payment again on timers, and asks a person at last", async () => {
    const { outcome, waits, paid } = await playWith(4);
    expect([outcome, paid.length]).toEqual([{ kind: "done" }, 1]);
    expect(waits).toEqual(["review", "timer", "timer", "timer", "review"]);
  });
});

import { defineConfig } from "vitest/config";

/**
 * The project's own packages resolve to their TypeScript sources, as they do under `node --conditions`. Vitest hands these to
 * Node, where `import` or `module` would make `require` load the wrong half of CommonJS packages.
 */
const conditions = ["holdpoint-source", "node"];

/** Tests of many real processes, which need the machine to themselves: they say how soon something is to happen. */
const PROCESSES = ["test/e2e/**/*.test.ts", "test/crash/{zombies,skew}.test.ts"];
/** Tests of processes that are killed, and wait most of their time. */
const CRASHES = ["test/crash/**/*.test.ts"];

/** Soaks, for `npm run test:nightly`. */
const SOAKS = process.env["HOLDPOINT_NIGHTLY"] === "1" ? [] : ["test/**/*.nightly.test.ts"];

const common = { resolve: { conditions }, ssr: { resolve: { conditions } } };
const everyTest = {
  // The checkpoint-validation suite declares its cases with the globals.
  globals: true,
  pool: "forks",
  testTimeout: 30_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  test: {
    // Here, and not in the projects: one DynamoDB Local serves them all.
    globalSetup: ["test/support/global-setup.ts"],
    // By itself it leaves one core free.
    maxWorkers: "100%",
    projects: [
      {
        ...common,
        test: { ...everyTest, name: "in-process", include: ["test/**/*.test.ts"], exclude: [...CRASHES, ...PROCESSES] },
      },
      {
        ...common,
        test: {
          ...everyTest,
          name: "infra",
          include: ["infra/test/**/*.test.ts"],
          globalSetup: ["infra/test/global-setup.ts"],
        },
      },
      {
        ...common,
        // Two files at a time, once all others are through.
        test: {
          ...everyTest,
          name: "crashes",
          include: CRASHES,
          exclude: [...SOAKS, ...PROCESSES],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...common,
        // One file at a time, at the end.
        test: {
          ...everyTest,
          name: "processes",
          include: PROCESSES,
          exclude: SOAKS,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

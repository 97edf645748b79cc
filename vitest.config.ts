import { defineConfig } from "vitest/config";

/**
 * The project's own packages resolve to their TypeScript sources, as they do under `node --conditions`. Vitest hands these to
 * Node, where `import` or `module` would make `require` load the wrong half of CommonJS packages.
 */
const conditions = ["holdpoint-source", "node"];

/** Tests of real processes that say how soon something is to happen, and need the machine to themselves. */
const TIMED = ["test/e2e/{idle,outage,overload,roles}.test.ts", "test/crash/{skew,zombies}.test.ts"];
/** All others of real processes, which wait most of their time. */
const PROCESSES = ["test/{crash,e2e}/**/*.test.ts"];

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
        test: { ...everyTest, name: "in-process", include: ["test/**/*.test.ts"], exclude: PROCESSES },
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
          name: "processes",
          include: PROCESSES,
          exclude: [...SOAKS, ...TIMED],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...common,
        // One file at a time, at the end.
        test: {
          ...everyTest,
          name: "timed",
          include: TIMED,
          exclude: SOAKS,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

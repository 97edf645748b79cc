import { defineConfig } from "vitest/config";

/**
 * The project's own packages resolve to their TypeScript sources, as they do under `node --conditions`. Vitest hands these to
 * Node, where `import` or `module` would make `require` load the wrong half of CommonJS packages.
 */
const conditions = ["holdpoint-source", "node"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // The checkpoint-validation suite declares its cases with the globals.
    globals: true,
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    globalSetup: ["test/support/global-setup.ts"],
  },
});

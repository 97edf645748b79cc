import { defineConfig } from "vitest/config";

/** The project's own packages resolve to their TypeScript sources, as they do under `node --conditions`. */
const conditions = ["holdpoint-source", "node", "import", "module", "default"];

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
  },
});

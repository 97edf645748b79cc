/** The extension of SQLite that computes with vectors: compiled for each platform, in an npm package of its own. */
import { DatabaseSync } from "node:sqlite";
import { HoldpointError, errorInfo } from "../core/errors.ts";

/**
 * Path of the extension for this platform, loaded once to see that it can be.
 * @throws HoldpointError `unsupported` when its package is not installed, or does not work here
 */
export async function vectorExtension(
  find: () => Promise<string> = async () => (await import("sqlite-vec")).getLoadablePath(),
): Promise<string> {
  try {
    const path = await find();
    using db = new DatabaseSync(":memory:", { allowExtension: true });
    db.loadExtension(path);
    return path;
  } catch (cause) {
    const os = process.platform === "win32" ? "windows" : process.platform;
    throw new HoldpointError(
      "unsupported",
      `search by meaning needs the package sqlite-vec-${os}-${process.arch}, which cannot be loaded: ` +
        `${errorInfo(cause).message}; install it, or run without an embedder`,
      { cause },
    );
  }
}

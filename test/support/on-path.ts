import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";

/** Whether a program of this name can be started here. */
export async function onPath(command: string): Promise<boolean> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      await access(join(folder, command), constants.X_OK);
      return true;
    } catch {
      // Not in this folder.
    }
  }
  return false;
}

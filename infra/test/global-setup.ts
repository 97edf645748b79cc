/** Installs what the stacks need, and synthesises them once for all tests of this project. */
import type { TestProject } from "vitest/node";
import { installInfra } from "../../scripts/infra.ts";
import type { Synthesised } from "../synth.ts";

declare module "vitest" {
  export interface ProvidedContext {
    readonly synthesised: readonly Synthesised[];
  }
}

export async function setup({ provide }: TestProject): Promise<void> {
  await installInfra();
  // Only now is there what it imports.
  const { synthesise } = await import("../synth.ts");
  provide("synthesised", await synthesise());
}

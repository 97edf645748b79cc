/** `npm run image`: builds the image and checks it in a container, where the tools for that are found, and says so where not. */
import { textTable } from "../bench/support/stats.ts";
import { buildImage, whyNoImage } from "./image/build.ts";
import { checkImage } from "./image/checks.ts";

async function main(): Promise<number> {
  const missing = await whyNoImage();
  if (missing !== undefined) {
    console.log(`The image was neither built nor checked: ${missing}.`);
    return 1;
  }
  await using image = await buildImage();
  const checks = await checkImage(image);
  const rows = checks.map(({ what, found, holds }) => [what, found, holds ? "ok" : "FAILED"]);
  console.log(`\n${textTable([["check", "found", ""], ...rows])}`);
  return checks.every(({ holds }) => holds) ? 0 : 1;
}

process.exitCode = await main();

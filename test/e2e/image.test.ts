/** The image, built and run for real: in CI, or when it is asked for, since it takes minutes. */
import { describe, expect, it } from "vitest";
import { buildImage, whyNoImage } from "../../scripts/image/build.ts";
import { checkImage } from "../../scripts/image/checks.ts";

const isAskedFor = process.env["CI"] === "true" || process.env["HOLDPOINT_IMAGE"] === "1";
const missing = isAskedFor ? await whyNoImage() : "it takes minutes; set HOLDPOINT_IMAGE=1";

describe.skipIf(missing !== undefined)(`the image${missing === undefined ? "" : ` (not built: ${missing})`}`, () => {
  it(
    "is small, runs as nobody on a root that it cannot write to, and ends when it is asked to",
    { timeout: 1_200_000 },
    async () => {
      await using image = await buildImage();
      const checks = await checkImage(image);
      expect(checks.length).toBeGreaterThan(12);
      expect(checks.filter(({ holds }) => !holds)).toEqual([]);
    },
  );
});

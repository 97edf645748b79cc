import { expect, it } from "vitest";
import { medianOf } from "../../scripts/image/checks.ts";

it("judges the start of the image by the middle of its times, not by the best one", () => {
  expect(medianOf([2500, 1900, 2300])).toBe(2300);
  expect(medianOf([1500])).toBe(1500);
});

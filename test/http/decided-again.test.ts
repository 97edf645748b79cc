/** A decision that comes back because nobody could carry it on, and is given once more under the same Idempotency-Key. */
import { expect, it } from "vitest";
import { reopened } from "../../src/core/hold.ts";
import { holdId, tenantId, threadId } from "../../src/core/ids.ts";
import { eventually } from "../support/eventually.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Page, Review } from "../support/review-desk.ts";

const desk = sharedDesk();

const answered = async ({ id }: Review): Promise<readonly unknown[]> => {
  const answer = await desk.call("sam", "GET", `/v1/audit?review_id=${id}&action=approve`);
  return (await bodyOf<Page>(answer)).items.map(({ actor }) => actor);
};

it("is on the audit log each time, as each vote is, and a repeat of it is still the same one", async () => {
  const asked = await desk.raise({ quorum: 2 });
  const approve = async (as: "ann" | "bob"): Promise<Review> =>
    bodyOf(await desk.decide(as, asked, { type: "approve" }, { "idempotency-key": `${as}'s` }));
  await approve("ann");
  await approve("bob");
  await eventually(async () => (await desk.get(asked.id)).state === "applied", "the end of the run");
  expect(await answered(asked)).toEqual(["bob", "ann"]);

  const [thread = "", hold = ""] = asked.id.split(".");
  const ref = { tenant: tenantId("acme"), threadId: threadId(thread) };
  await desk.service.deps.holds.update(ref, holdId(hold), (now) => reopened(now, "it failed", 1));
  expect(await approve("ann")).toMatchObject({ state: "pending", votes: [{ by: "ann" }] });
  const { decision } = await approve("bob");
  expect((await approve("bob")).decision).toEqual(decision);
  await eventually(async () => (await answered(asked)).length > 3, "the second entries");
  expect(await answered(asked)).toEqual(["bob", "ann", "bob", "ann"]);
});

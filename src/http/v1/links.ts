/**
 * Signed one-tap links. Reading one shows what it would decide and decides nothing, since mail programs and chats read
 * what they are sent; sending its form decides. The pages hold nothing that a browser would execute: what graphs and
 * people wrote is text in them.
 */
import type { Request, Response } from "express";
import { z } from "zod";
import { LINK_ANSWERS } from "../../core/decision-link.ts";
import { HoldpointError } from "../../core/errors.ts";
import { MAX_COMMENT } from "../../core/hold-desk.ts";
import type { LinkUseCases } from "../../runtime/reviews/links.ts";
import { problemOf } from "../errors.ts";
import { isoTime } from "../langgraph/objects.ts";
import { name, optional, parse, present } from "../parse.ts";
import { originOf } from "../route.ts";
import type { Routes } from "../route.ts";
import { askPage, donePage, problemPage } from "./link-pages.ts";

const MINUTE_MS = 60_000;
const DEFAULT_FOR_MS = 60 * MINUTE_MS;
const MAX_FOR_MS = 24 * 60 * MINUTE_MS;
const MAX_GROUPS = 32;
const PATH = "/links/:token";

const reviewPath = z.object({ review_id: z.string().min(1).max(256) });
const tokenPath = z.object({ token: z.string().min(1).max(4096) });
const linkBody = z.strictObject({
  decision: z.enum(LINK_ANSWERS),
  digest: optional(z.string().max(256)),
  user: optional(z.string().min(1).max(128)),
  groups: optional(z.array(name).max(MAX_GROUPS)),
  for_ms: optional(z.int().min(MINUTE_MS).max(MAX_FOR_MS)),
});

export function addLinkRoutes(routes: Routes, links: LinkUseCases): void {
  routes.post("/reviews/:review_id/links", "reviews:link", async ({ principal, request, response, body }) => {
    const { review_id: id } = parse(reviewPath, request.params, "path");
    const { decision, digest, for_ms = DEFAULT_FOR_MS, user, groups } = parse(linkBody, body, "body");
    if (digest === undefined)
      throw new HoldpointError("precondition_required", "digest is missing: send the digest of the review as it is");
    const wanted = { answer: decision, digest, forMs: for_ms, ...present({ user, groups }) };
    const { link, token } = await links.create(principal, id, wanted);
    response.status(201).json({
      path: `${request.baseUrl}/links/${token}`,
      review_id: id,
      decision: link.answer,
      user: link.user,
      groups: link.groups,
      expires_at: isoTime(link.expiresAt),
    });
  });

  routes.showByToken(PATH, async ({ request, response, enter }) => {
    await answering(response, async () => {
      const token = tokenOf(request);
      using _entered = enter(await links.tenantOf(token));
      const { link, hold, problem } = await links.look(token);
      if (problem) throw problem;
      sendPage(response, 200, askPage(link, hold));
    });
  });
  routes.byToken(PATH, async ({ request, response, enter }) => {
    await answering(response, async () => {
      const token = tokenOf(request);
      using entered = enter(await links.tenantOf(token));
      const comment = (await entered.form()).get("comment")?.trim() ?? "";
      if (comment.length > MAX_COMMENT)
        throw new HoldpointError("invalid", `a reason has at most ${MAX_COMMENT} characters`);
      const given = { origin: originOf(request, response), ...(comment === "" ? {} : { comment }) };
      sendPage(response, 200, donePage(await links.use(token, given)));
    });
  });
}

const tokenOf = (request: Request): string => parse(tokenPath, request.params, "path").token;

/** People read the answer: a refusal is a page as well. What is not one is for the log. */
async function answering(response: Response, handle: () => Promise<void>): Promise<void> {
  try {
    await handle();
  } catch (error) {
    const { status, detail } = problemOf(error);
    if (status >= 500) throw error;
    sendPage(response, status, problemPage(detail));
  }
}

/** Nothing is loaded, executed or framed, nothing is kept, and the address is told to nobody. */
const HEADERS = {
  "content-security-policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-robots-tag": "noindex",
};

function sendPage(response: Response, status: number, html: string): void {
  response.set(HEADERS).status(status).type("html").send(html);
}

/**
 * Signed one-tap links. Whoever has one may give its one answer, as the person whom it names and under the policy of the
 * review: it is a decision like any other (I4), by an id that follows from the link, so that it counts once.
 */
import { bearerOf, linkAnswer, linkDecisionId, linkKey } from "../../core/decision-link.ts";
import type { DecisionLink } from "../../core/decision-link.ts";
import { HoldpointError } from "../../core/errors.ts";
import type { Hold } from "../../core/hold.ts";
import type { TenantId } from "../../core/ids.ts";
import { allows } from "../../core/principal.ts";
import type { Origin, Principal } from "../../core/principal.ts";
import { auditLink } from "../audit/audit-hold.ts";
import { assertDecidable, usedLink } from "../decisions/decide.ts";
import type { Deps } from "../deps.ts";
import { decideOne, find } from "./reviews.ts";

export interface LinkUseCases {
  /** @throws HoldpointError what deciding itself would be refused with; `forbidden` to name others */
  create(principal: Principal, reviewId: string, wanted: WantedLink): Promise<MadeLink>;
  /** Whom a token is for. @throws HoldpointError `not_found` for one that was never handed out */
  tenantOf(token: string): Promise<TenantId>;
  /** What the link would decide, and why it cannot any more. */
  look(token: string): Promise<LinkView>;
  /** Decides. @throws HoldpointError why it cannot */
  use(token: string, given: UsedLink): Promise<Hold>;
}

export interface WantedLink extends Pick<DecisionLink, "answer" | "digest"> {
  /** The caller, unless it is given. */
  readonly user?: string;
  /** Of somebody else; the caller has those of their own. */
  readonly groups?: readonly string[];
  readonly forMs: number;
}

export interface MadeLink {
  readonly link: DecisionLink;
  readonly token: string;
}

export interface LinkView {
  readonly link: DecisionLink;
  readonly hold: Hold;
  readonly problem?: HoldpointError;
}

export interface UsedLink {
  readonly comment?: string;
  readonly origin: Origin;
}

const ID_BYTES = 16;
/** Characters: more than this may get lost on the way. */
const MAX_TOKEN = 4_096;
/** Why a person rejects is asked of them when they do. */
const SAID_LATER = "said when it is used";

export function createLinks(deps: Deps): LinkUseCases {
  const opened = async (token: string): Promise<DecisionLink> => {
    const link = await deps.callbacks.openLink(token);
    if (!link) throw new HoldpointError("not_found", "there is no such link");
    return link;
  };
  const holdOf = (link: DecisionLink) => find(deps, bearerOf(link), `${link.threadId}.${link.holdId}`);
  return {
    create: (principal, reviewId, wanted) => create(deps, principal, reviewId, wanted),
    tenantOf: async (token) => (await opened(token)).tenant,
    async look(token) {
      const link = await opened(token);
      const found = await holdOf(link);
      const problem =
        used(link, found.value) ?? expired(deps, link) ?? (await refusal(() => tryOut(deps, link, found)));
      return { link, hold: found.value, ...(problem === undefined ? {} : { problem }) };
    },
    async use(token, { comment, origin }) {
      const link = await opened(token);
      const hold = (await holdOf(link)).value;
      if (isUsed(link, hold)) return hold;
      const over = expired(deps, link);
      if (over) throw over;
      return decideOne(deps, { ...bearerOf(link), origin }, `${link.threadId}.${link.holdId}`, {
        answer: linkAnswer(link),
        digest: link.digest,
        idempotencyKey: linkKey(link),
        link: { id: link.id, issuedBy: link.issuedBy },
        ...(comment === undefined ? {} : { comment }),
      });
    },
  };
}

async function create(deps: Deps, principal: Principal, reviewId: string, wanted: WantedLink): Promise<MadeLink> {
  const { answer, digest, user = principal.subject, groups, forMs } = wanted;
  const isOwn = user === principal.subject;
  if (isOwn && !allows(principal, "reviews:decide"))
    throw new HoldpointError("invalid", "body.user: name the person that it is for; you decide nothing yourself");
  if (isOwn && groups !== undefined)
    throw new HoldpointError("invalid", "body.groups: a link of your own has the groups that you are in");
  if (!isOwn && !allows(principal, "reviews:delegate"))
    throw new HoldpointError("forbidden", "you may make links for yourself only");
  const found = await find(deps, principal, reviewId);
  const { tenant, threadId, holdId } = found.value;
  const link: DecisionLink = {
    id: deps.ids.token(ID_BYTES),
    tenant,
    threadId,
    holdId,
    digest,
    user,
    groups: isOwn ? principal.groups : (groups ?? []),
    answer,
    issuedBy: principal.subject,
    expiresAt: deps.table.now() + forMs,
  };
  await tryOut(deps, link, found);
  const token = await deps.callbacks.signLink(link);
  if (token.length > MAX_TOKEN) throw new HoldpointError("invalid", "the groups are too long for a link");
  await auditLink(deps, found.value, link, { at: deps.table.now(), origin: principal.origin });
  return { link, token };
}

/** @throws HoldpointError what deciding would be refused with now */
const tryOut = (deps: Deps, link: DecisionLink, found: Awaited<ReturnType<typeof find>>): Promise<void> =>
  assertDecidable(deps, bearerOf(link), found, {
    answer: linkAnswer(link),
    digest: link.digest,
    comment: SAID_LATER,
  });

async function refusal(attempt: () => Promise<void>): Promise<HoldpointError | undefined> {
  try {
    await attempt();
    return undefined;
  } catch (error) {
    if (error instanceof HoldpointError) return error;
    throw error;
  }
}

/** Whether its answer stands. */
const isUsed = (link: DecisionLink, hold: Hold): boolean =>
  [hold.decision, ...(hold.votes ?? [])].some((vote) => vote?.id === linkDecisionId(link, hold));

const used = (link: DecisionLink, hold: Hold): HoldpointError | undefined =>
  isUsed(link, hold) || (hold.usedLinks ?? []).includes(link.id) ? usedLink() : undefined;

function expired({ table }: Deps, link: DecisionLink): HoldpointError | undefined {
  if (link.expiresAt > table.now()) return undefined;
  return new HoldpointError("gone", `this link has expired at ${new Date(link.expiresAt).toISOString()}`);
}

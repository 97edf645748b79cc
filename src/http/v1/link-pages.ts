/** The pages of one-tap links: plain HTML that reads well aloud, in which everything that somebody wrote is text. */
import type { DecisionLink } from "../../core/decision-link.ts";
import type { Hold } from "../../core/hold.ts";
import { MAX_COMMENT } from "../../core/hold-desk.ts";
import { isoTime } from "../langgraph/objects.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (sign) => ESCAPES[sign] ?? "");

const VERBS = { approve: "Approve", reject: "Reject" } as const;

/** What the link would decide, with a form that does. */
export function askPage({ answer, user, expiresAt }: DecisionLink, { request, value, graphId, node }: Hold): string {
  const verb = VERBS[answer];
  const title = request?.title ?? `${graphId}: ${node}`;
  const facts = [
    ["You are", user],
    ["Your answer", verb],
    ["Action", request?.action],
    ["Risk", request?.risk],
    ["Valid until", isoTime(expiresAt)],
  ].flatMap(([term, fact]) => (fact === undefined ? [] : [`<dt>${term ?? ""}</dt><dd>${escaped(fact)}</dd>`]));
  return page(
    `${verb}: ${title}`,
    `<h1>${verb}: ${escaped(title)}</h1>
<dl>${facts.join("")}</dl>
${request?.description === undefined ? "" : `<h2>Description</h2>\n<pre>${escaped(request.description)}</pre>`}
<h2>What is asked</h2>
<pre>${escaped(JSON.stringify(request?.args ?? value, undefined, 2))}</pre>
<form method="post">
<p><label for="comment">Reason${answer === "reject" ? "" : " (optional)"}</label><br>
<textarea id="comment" name="comment" rows="4" cols="60" maxlength="${MAX_COMMENT}"${answer === "reject" ? " required" : ""}></textarea></p>
<p><button type="submit">${verb}</button></p>
</form>`,
  );
}

/** What came of it. */
export function donePage({ state, votes = [], decision, request }: Hold): string {
  const said =
    decision && state !== "pending"
      ? `Decided: ${decision.answer.type} by ${decision.by} at ${isoTime(decision.at)}.`
      : `Your answer is recorded. ${votes.length} of ${request?.quorum ?? 1} people have answered.`;
  return page("Recorded", `<h1>Recorded</h1>\n<p>${escaped(said)}</p>\n<p>You may close this page.</p>`);
}

export const problemPage = (detail: string): string =>
  page("Not possible", `<h1>This answer cannot be given</h1>\n<p role="alert">${escaped(detail)}</p>`);

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;

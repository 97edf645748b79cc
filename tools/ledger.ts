import { HoldpointError, services } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";

/**
 * Where payments go: the run's `ledger_url`, or the service's setting; undefined when neither says. A caller may only
 * name a ledger on this machine: whoever starts a run must not be able to send its payments anywhere else.
 * @throws HoldpointError `invalid` for a `ledger_url` that is no such address
 */
export function ledgerOf(config: NodeConfig): URL | undefined {
  const configured = services(config).settings["ledgerUrl"];
  const asked: unknown = config.configurable?.["ledger_url"];
  if (typeof asked === "string" && asked !== configured) return loopbackUrl(asked);
  return typeof configured === "string" ? new URL(configured) : undefined;
}

function loopbackUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) return url;
  throw new HoldpointError("invalid", `ledger_url must be an http address on this machine, not ${text}`);
}

/** A call to the ledger gives up after this, so that its outcome is asked for again while the run is still held. */
const ANSWER_WITHIN_MS = 5_000;

/** The signal of one call: the run's own, and the call's time-out. */
export function callSignal(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(ANSWER_WITHIN_MS);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

/** What every client of the SDK shares: where it speaks to, as whom, and time-outs that are enforced. */
import { NodeHttpHandler } from "@smithy/node-http-handler";

export interface AwsOptions {
  /** Undefined: as the SDK finds it. */
  readonly region?: string | undefined;
  /** A compatible server other than Amazon's. */
  readonly endpoint?: string | undefined;
  /** Undefined: as the SDK finds them; on a loopback endpoint, which checks none, a local pair that is no secret. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How often a request is sent before it counts as failed; 4 by default. */
  readonly maxAttempts?: number;
  /** Milliseconds that one attempt may take until its answer begins; 3,000 by default. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds of silence after which a connection counts as dead, also within a body; without end by default. */
  readonly silenceMs?: number;
}

/** The options of a client of the SDK. */
export function clientOptions({ region, endpoint, maxAttempts, requestTimeoutMs, silenceMs, ...given }: AwsOptions) {
  const local =
    endpoint !== undefined && isLoopback(endpoint) ? { accessKeyId: "local", secretAccessKey: "local" } : undefined;
  const credentials = given.credentials ?? local;
  return {
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: maxAttempts ?? 4,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: 1000,
      requestTimeout: requestTimeoutMs ?? 3000,
      ...(silenceMs === undefined ? {} : { socketTimeout: silenceMs }),
      // Without this the time-out is only a warning, and a reply that never comes is waited for without end.
      throwOnRequestTimeout: true,
    }),
  };
}

/** True for the addresses of this machine, where a pair of made-up credentials can do no harm. */
function isLoopback(endpoint: string): boolean {
  const host = URL.parse(endpoint)?.hostname ?? "";
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

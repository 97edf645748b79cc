/** Two real ledger processes, and what an operator reads in them. */
import { join } from "node:path";
import { PROJECT, startProcess } from "../../scripts/demo/process.ts";
import { patiently } from "./patient.ts";

export interface Payment {
  readonly reference: string;
  readonly key: string;
  readonly order: string;
}

export interface Ledgers extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** Everything that was paid, by either. */
  payments(): Promise<readonly Payment[]>;
}

export async function openLedgers(): Promise<Ledgers> {
  await using opening = new AsyncDisposableStack();
  const open = async (flag: string): Promise<string> => {
    const args = [join(PROJECT, "scripts/ledger.ts"), flag];
    const ledger = opening.use(startProcess({ name: "a ledger", args }));
    return ledger.line((line) => /http:\/\/\S+/.exec(line)?.[0]);
  };
  const urls = [await open("--honour-keys"), await open("--no-honour-keys")] as const;
  const opened = opening.move();
  return {
    env: { HOLDPOINT_TEST_LEDGER: urls[0], HOLDPOINT_TEST_FORGETFUL_LEDGER: urls[1] },
    payments: async () => (await Promise.all(urls.map(paymentsAt))).flat(),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Asked until it answers: a connection that was idle may be closed by the ledger as it is used again. */
const paymentsAt = (url: string): Promise<readonly Payment[]> =>
  patiently(`an answer of ${url}`, async () => {
    const answer = await fetch(new URL("/refunds", url)).then(
      (response) => response.json(),
      () => undefined,
    );
    return (answer as { readonly refunds: readonly Payment[] } | undefined)?.refunds;
  });

/** What the armed modules of one process share. */
import { createArmedTable } from "./armed-table.ts";
import { FAULTS_VARIABLE, withFaults } from "./faults.ts";
import { createOrders } from "./orders.ts";
import type { Table } from "../../src/storage/table.ts";
import { FOLDER_VARIABLE, FORGETS_VARIABLE } from "./witness.ts";

let stopInside: (() => void) | undefined;

/** Called inside each transaction, after its writes. */
export function insideTransaction(): void {
  const stop = stopInside;
  stopInside = undefined;
  stop?.();
}

/** The table as this process is to have it. */
export function armed(table: Table): Table {
  const folder = process.env[FOLDER_VARIABLE];
  if (folder === undefined) return table;
  const role = process.argv[process.argv.indexOf("--role") + 1] === "api" ? "api" : "worker";
  const armed = createArmedTable(table, {
    folder,
    role,
    orders: createOrders(folder),
    onStopInside: (stop) => {
      stopInside = stop;
    },
    forgetsEffects: process.env[FORGETS_VARIABLE] === "1",
  });
  const seed = process.env[FAULTS_VARIABLE];
  // What was applied is seen, whatever its caller is told.
  return seed === undefined ? armed : withFaults(armed, folder, seed);
}

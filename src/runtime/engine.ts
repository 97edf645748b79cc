import type { ThreadId } from "../core/ids.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import { missingNodes } from "../langgraph/compatibility.ts";
import type { InFlight } from "../langgraph/compatibility.ts";
import { breakpointAtHead } from "../langgraph/breakpoints.ts";
import type { AtHead } from "../langgraph/breakpoints.ts";
import { drive } from "../langgraph/drive.ts";
import type { Drive, DriveOutcome, WaitingInterrupt } from "../langgraph/drive.ts";
import type { RegisteredGraph } from "../langgraph/registry.ts";
import { hasWorkLeft } from "../langgraph/work-left.ts";

/** What executes graphs: LangGraph.js in the product, a script in the simulation. */
export interface Engine {
  drive(drive: Drive): Promise<DriveOutcome>;
  /** True if some unfinished task of the head does not wait for an answer: going on would do something. */
  hasWorkLeft(graph: RegisteredGraph, saver: FencedSaver, threadId: ThreadId): Promise<boolean>;
  /** The breakpoint at which this run has stopped, or was about to. */
  breakpointAtHead(at: AtHead): Promise<WaitingInterrupt | undefined>;
  /** Nodes that what is in flight at the head needs and the graph does not have. */
  missingNodes(inFlight: InFlight): Promise<readonly string[]>;
}

export const langGraphEngine: Engine = { drive, hasWorkLeft, breakpointAtHead, missingNodes };

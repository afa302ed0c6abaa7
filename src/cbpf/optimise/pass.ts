import type { Statement } from "../block.ts";
import type { Graph } from "./graph.ts";
import { removed, type ValueTable } from "./values.ts";

/** What the steps of one pass share. */
export interface Pass {
  readonly graph: Graph;
  readonly table: ValueTable;
  /** False in the first phase, in which edges are moved and so each block must stay self-contained. */
  readonly alter: boolean;
  /** Another pass may find more to do. */
  readonly changed: () => void;
}

/** Steps that moving edges may take in a phase, so that long lists do not take quadratic time. */
export interface StepBudget {
  steps: number;
}

/** The statements that have not been removed. */
export function compact(statements: Statement[]): Statement[] {
  return statements.some((each) => each.code === removed)
    ? statements.filter((each) => each.code !== removed)
    : statements;
}

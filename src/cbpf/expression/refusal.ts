import { UserError } from "../../common/user-error.ts";

/**
 * Why an expression is refused: thrown by the stages of the compiler for want of a shorter way out
 * of their recursion, and caught in one place, compileExpression, which returns it.
 */
export class Refusal extends UserError {
  /** `at` counts from 0 in the expression's text; messages name the column from 1. */
  constructor(code: RefusalCode, at: number, what: string, fix?: string) {
    super(code, `expression, column ${at + 1}`, what, fix);
    this.name = "Refusal";
  }
}

export type RefusalCode =
  /** The text breaks the grammar. */
  | "EXPRESSION_SYNTAX"
  /** A number, address or name that is none, or out of range. */
  | "EXPRESSION_VALUE"
  /** A combination that has no meaning. */
  | "EXPRESSION_MEANING"
  /** For another link type, or for a live capture only. */
  | "EXPRESSION_LINK_TYPE"
  /** More than the compiler's limits. */
  | "EXPRESSION_TOO_LARGE";

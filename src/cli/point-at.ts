import type { UserError } from "../common/user-error.ts";

/** Most columns of an expression that are shown around an error. */
const maxShown = 100;

/** The expression with a caret under the column an error names; nothing where it names none. */
export function pointAt(expression: string, error: UserError): string {
  const column = Number(/column (\d+)$/.exec(error.where)?.[1]);
  if (Number.isNaN(column) || /[\r\n\t]/.test(expression)) return "";
  const from = Math.max(0, column - 1 - maxShown / 2);
  const shown = expression.slice(from, from + maxShown);
  return `  ${shown}\n  ${" ".repeat(column - 1 - from)}^\n`;
}

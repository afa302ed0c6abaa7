import { inspect, types } from "node:util";
import { orList, suggestion } from "../common/closest.ts";
import { UserError } from "../common/user-error.ts";

/** What a parameter takes. Callers in JavaScript have no types that would say so. */
export interface Kind {
  /** As in "give …": `a function`. */
  readonly what: string;
  readonly holds: (value: unknown) => boolean;
}

export const text: Kind = { what: "text", holds: (value) => typeof value === "string" };
export const number: Kind = { what: "a number", holds: (value) => typeof value === "number" };
export const wholeNumber: Kind = { what: "a whole number", holds: Number.isInteger };
export const callback: Kind = {
  what: "a function",
  holds: (value) => typeof value === "function",
};
export const bytes: Kind = { what: "a Uint8Array", holds: isBytes };
export const textOrBytes: Kind = {
  what: "text or a Uint8Array",
  holds: (value) => text.holds(value) || isBytes(value),
};
export const list: Kind = { what: "an array", holds: Array.isArray };
export const record: Kind = {
  what: "an object such as { name: … }",
  holds: (value) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !isBytes(value),
};

/** One of these words. */
export function oneOf(words: readonly string[]): Kind {
  const quoted = words.map((word) => JSON.stringify(word));
  return { what: orList(quoted), holds: (value) => words.some((word) => word === value) };
}

/** Also of another realm: test runners give tests globals of their own. */
export function isBytes(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** Throws a UserError `ARGUMENT_TYPE` where a value is not of its kind. `where`: `run, packet`. */
export function checkArgument(where: string, value: unknown, kind: Kind): void {
  if (kind.holds(value)) return;
  throw new UserError("ARGUMENT_TYPE", where, `was given ${shown(value)}`, `give ${kind.what}`);
}

/**
 * Throws a UserError where options are no object, hold an option that there is not
 * (`ARGUMENT_UNKNOWN`) or one of another kind. One that is undefined counts as left out.
 */
export function checkOptions(
  where: string,
  options: unknown,
  known: Readonly<Record<string, Kind>>,
): void {
  checkArgument(where, options, record);
  for (const [name, value] of Object.entries(options as object)) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined)
      throw new UserError(
        "ARGUMENT_UNKNOWN",
        where,
        `there is no "${name}"`,
        suggestion(name, Object.keys(known), "there is none"),
      );
    if (value !== undefined) checkArgument(`${where}.${name}`, value, kind);
  }
}

/** A value in a few words. */
function shown(value: unknown): string {
  const whole = inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY });
  return whole.length > 40 ? `${whole.slice(0, 40)}…` : whole;
}

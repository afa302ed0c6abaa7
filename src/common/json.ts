/** What `JSON.parse` tells of a primitive besides its value. Not in TypeScript's own library yet. */
interface Source {
  readonly source?: string;
}

/**
 * `JSON.parse`, but for whole numbers beyond 2⁵³, which would become others: they are given as
 * their digits. Throws a SyntaxError.
 */
export function parseJson(text: string): unknown {
  const exact = (_name: string, value: unknown, { source }: Source): unknown =>
    typeof value === "number" &&
    !Number.isSafeInteger(value) &&
    source !== undefined &&
    /^-?\d+$/.test(source)
      ? source
      : value;
  return JSON.parse(text, exact as (name: string, value: unknown) => unknown);
}

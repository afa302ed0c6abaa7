import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseTyped } from "../maps/typed.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { MapSpec, ObjectSpec } from "../object/object-spec.ts";

/** What `--map NAME=KEY:VALUE` says. `map` is a place in the object's list. */
export type MapOption =
  | {
      readonly kind: "entry";
      readonly map: number;
      readonly key: Uint8Array;
      readonly value: Uint8Array;
    }
  /** A prog_array's value is a program's name, that of a map of maps a map's. */
  | {
      readonly kind: "name";
      readonly map: number;
      readonly key: Uint8Array;
      readonly name: string;
    };

/**
 * Reads an entry that an option sets. Key and value stand on both sides of a `=`, or else of the last
 * colon, outside of brackets and quotes. They are hex where both have just the digits that their sizes
 * take, else typed; where one alone has them, it could be either and is refused.
 */
export function parseMapOption(
  text: string,
  maps: readonly MapSpec[],
  object: ObjectSpec | undefined,
): Result<MapOption, UserError> {
  const refuse = (what: string, fix?: string): Result<never, UserError> =>
    err(new UserError("USAGE_MAP", `--map ${text}`, what, fix));
  const [, name = "", entry = ""] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  const index = maps.findIndex((candidate) => candidate.name === name);
  const map = maps[index];
  const at = separator(entry);
  if (name === "" || at === undefined) return refuse("expected NAME=KEY:VALUE");
  if (map === undefined) {
    const known = maps.map((one) => one.name).join(", ");
    return err(
      new UserError(
        "MAP_UNKNOWN",
        `--map ${text}`,
        `no map "${name}"`,
        `the object has ${known || "none"}`,
      ),
    );
  }
  const [keyText, valueText] = [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
  const { keySize, valueSize } = map;
  const typed = (part: "key" | "value", written: string): Result<Uint8Array, UserError> => {
    if (part === "key" && keySize === 0)
      return written === ""
        ? ok(new Uint8Array(0))
        : refuse(`a map of type ${map.type} has no keys`, `write ${name}=:VALUE`);
    const [type, size] =
      part === "key" ? [map.keyType, keySize] : ([map.valueType, valueSize] as const);
    const bytes = parseTyped(object?.btf, type, size, written);
    if (bytes.ok) return bytes;
    const { where, what, fix } = bytes.error;
    const inside = where.startsWith("value") ? where.slice("value".length) : "";
    return refuse(
      `${part}${inside}: ${what}`,
      `${fix}; or both in hex, a key of ${2 * keySize} digits and a value of ${2 * valueSize}`,
    );
  };
  const keyBytes = hexOf(keyText, keySize);
  if (map.type === "prog_array" || holdsMaps(map.type)) {
    const key = keyBytes === undefined ? typed("key", keyText) : ok(keyBytes);
    if (!key.ok) return key;
    return ok({ kind: "name", map: index, key: key.value, name: valueText });
  }
  const valueBytes = hexOf(valueText, valueSize);
  if (keyBytes !== undefined && valueBytes !== undefined)
    return ok({ kind: "entry", map: index, key: keyBytes, value: valueBytes });
  const unclear = keyBytes !== undefined && keySize > 0 ? keyText : valueBytes && valueText;
  if (unclear !== undefined)
    return refuse(
      `"${unclear}" could be hex, and the other part is none of its size`,
      `write hex:${unclear} for bytes, or 0x and the digits for a number`,
    );
  const key = typed("key", keyText);
  if (!key.ok) return key;
  const value = typed("value", valueText);
  return value.ok ? ok({ kind: "entry", map: index, key: key.value, value: value.value }) : value;
}

/** Bare digits, as many as `size` bytes take. */
function hexOf(text: string, size: number): Uint8Array | undefined {
  return text.length === 2 * size && /^[0-9a-f]*$/i.test(text) ? parseHex(text) : undefined;
}

/** Where key and value part: at the first `=`, or else at the last colon that no `hex` stands before. */
function separator(entry: string): number | undefined {
  let [depth, quote, colon]: [number, string, number | undefined] = [0, "", undefined];
  for (let at = 0; at < entry.length; at++) {
    const character = entry[at]!;
    if (quote !== "") {
      if (character === quote) quote = "";
    } else if (character === '"' || character === "'") quote = character;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    else if (depth > 0) continue;
    else if (character === "=") return at;
    else if (character === ":" && !/(^|:)hex$/.test(entry.slice(0, at))) colon = at;
  }
  return colon;
}

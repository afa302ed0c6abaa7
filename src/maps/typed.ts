import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Btf } from "../object/btf.ts";
import { sizeOfType } from "../object/btf-types.ts";
import { asHex, decodeValue, numeric } from "../object/decode-value.ts";
import { encodeValue } from "../object/encode-value.ts";
import { encodeUntyped } from "../object/globals.ts";
import { readInteger } from "../object/integers.ts";
import { encodePrefixKey } from "../object/prefix-key.ts";

/**
 * The bytes of a map's key or value as written in a config or on a command line.
 *
 * With a BTF type (`type`, an id in `btf`) as `encodeValue` reads it. Without one, or where the
 * type has another size than the map: `hex:` and all bytes, a whole number (little-endian) for 1,
 * 2, 4 and 8 bytes, and for the 8 and 20 bytes of an LPM trie's key a prefix: 203.0.113.0/24.
 * The error's `where` begins with "value"; callers put the map's name before it.
 */
export function parseTyped(
  btf: Btf | undefined,
  type: number | undefined,
  size: number,
  input: unknown,
): Result<Uint8Array, UserError> {
  if (btf !== undefined && type !== undefined && sizeOfType(btf, type) === size)
    return encodeValue(btf, type, input, "value");
  const isPrefix = typeof input === "string" && input.includes("/");
  if (isPrefix && (size === 8 || size === 20))
    return encodePrefixKey(input, size === 8 ? 4 : 16, "value");
  return encodeUntyped(size, input, "value");
}

/**
 * A map's key or value as JSON can hold it; `parseTyped` reads it back. Without a type that fits: a
 * number for 1, 2, 4 and 8 bytes (as text beyond 2⁵³), else `hex:` and the bytes.
 */
export function formatTyped(
  btf: Btf | undefined,
  type: number | undefined,
  bytes: Uint8Array,
): unknown {
  if (btf !== undefined && type !== undefined && sizeOfType(btf, type) === bytes.length)
    return decodeValue(btf, type, bytes);
  return [1, 2, 4, 8].includes(bytes.length)
    ? numeric(readInteger(bytes, 0, bytes.length, false, false))
    : asHex(bytes);
}

import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type AddressBytes, formatAddress, parseAddress, unmapAddress } from "./address.ts";

/**
 * A block of addresses in CIDR form: `192.0.2.0/24`, `2001:db8::/32`. RFC 4632 §3.1. For allow
 * lists of a few entries: matching is a compare of bytes, and neither parses text nor allocates.
 */
export class Prefix {
  readonly family: 4 | 6;
  /** The network address; bits beyond `length` are zero. */
  readonly address: AddressBytes;
  /** Leading bits that count: 0 to 32 or 128. */
  readonly length: number;
  readonly #wholeBytes: number;
  readonly #lastMask: number;

  /** Throws a RangeError for a length beyond the address's: use `parsePrefix` for text of users. */
  constructor(address: AddressBytes, length: number) {
    if (!Number.isInteger(length) || length < 0 || length > address.length * 8)
      throw new RangeError(`a prefix length of ${length} for ${address.length} bytes`);
    this.family = address.length === 4 ? 4 : 6;
    this.length = length;
    this.#wholeBytes = length >>> 3;
    this.#lastMask = (0xff00 >>> (length & 7)) & 0xff;
    this.address = address.map((byte, i) => byte & this.#maskAt(i));
  }

  /** Whether the address of `family` at `at` is in the block. */
  contains(bytes: Uint8Array, at: number, family: 4 | 6): boolean {
    if (family !== this.family) return false;
    const whole = this.#wholeBytes;
    for (let i = 0; i < whole; i++) if (bytes[at + i] !== this.address[i]) return false;
    if (this.#lastMask === 0) return true;
    return ((bytes[at + whole] as number) & this.#lastMask) === this.address[whole];
  }

  #maskAt(index: number): number {
    if (index < this.#wholeBytes) return 0xff;
    return index === this.#wholeBytes ? this.#lastMask : 0;
  }
}

/**
 * Reads `ADDRESS/LENGTH`, or an address alone as a block of one. IPv4-mapped blocks of at least
 * 96 bits are IPv4 blocks. Bits beyond the length must be zero: `10.0.0.1/8` is refused, because
 * either the address or the length was a slip. `where` is what the error calls the place.
 */
export function parsePrefix(text: string, where: string): Result<Prefix, UserError> {
  const slash = text.indexOf("/");
  const addressText = slash < 0 ? text : text.slice(0, slash);
  const parsed = addressText.includes("%") ? undefined : parseAddress(addressText);
  if (parsed === undefined)
    return refuse(
      where,
      `"${addressText}" is no IP address`,
      "write 192.0.2.0/24 or 2001:db8::/32",
    );
  const bits = parsed.length * 8;
  const lengthText = slash < 0 ? String(bits) : text.slice(slash + 1);
  const length = /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : Number.NaN;
  if (!(length <= bits))
    return refuse(where, `"${lengthText}" is no prefix length`, `write a number from 0 to ${bits}`);
  const unmapped = unmapAddress(parsed);
  const isMapped = unmapped.length !== parsed.length && length >= 96;
  const prefix = isMapped ? new Prefix(unmapped, length - 96) : new Prefix(parsed, length);
  const given = isMapped ? unmapped : parsed;
  if (prefix.address.some((byte, i) => byte !== given[i]))
    return refuse(
      where,
      `"${text}" has bits set beyond its length`,
      `write ${formatPrefix(prefix)}, or the address alone`,
    );
  return ok(prefix);
}

/** As `parsePrefix` reads it. */
export function formatPrefix(prefix: Prefix): string {
  const bytes = prefix.family === 4 ? 4 : 16;
  return `${formatAddress(prefix.address, 0, bytes)}/${prefix.length}`;
}

function refuse(where: string, what: string, fix: string): Result<never, UserError> {
  return err(new UserError("ADDRESS_BAD_PREFIX", where, what, fix));
}

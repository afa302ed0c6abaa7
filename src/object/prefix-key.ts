import { putU32le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { formatAddress, parseAddress } from "../packet/address.ts";
import { Prefix } from "../packet/prefix.ts";

/**
 * Keys of LPM tries as people write them: 203.0.113.0/24, or an address alone for all its bits.
 * In bytes: the prefix length (u32, little-endian), then the address in network order. Kernel
 * documentation, bpf/map_lpm_trie.rst.
 */
export function encodePrefixKey(
  text: string,
  addressBytes: 4 | 16,
  where: string,
): Result<Uint8Array, UserError> {
  const refuse = (what: string, fix: string) =>
    err(new UserError("VALUE_PREFIX", where, what, fix));
  const example = addressBytes === 4 ? "203.0.113.0/24" : "2001:db8::/32";
  const [, host, bits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text.trim()) ?? [];
  const address = host === undefined ? undefined : parseAddress(host);
  if (address === undefined)
    return refuse(`"${text}" is no address prefix`, `write a prefix such as ${example}`);
  if (address.length !== addressBytes)
    return refuse(
      `"${text}" is an IPv${address.length === 4 ? 4 : 6} prefix, and the key holds ${addressBytes} address bytes`,
      `write a prefix such as ${example}`,
    );
  const most = addressBytes * 8;
  const length = bits === undefined ? most : Number(bits);
  if (length > most)
    return refuse(`"${text}" is longer than ${most} bits`, `write a length from 0 to ${most}`);
  const prefix = new Prefix(address, length);
  if (prefix.address.some((byte, i) => byte !== address[i]))
    return refuse(
      `"${text}" has bits set beyond its length`,
      `write ${formatAddress(prefix.address, 0, addressBytes)}/${length}, or the address alone`,
    );
  const key = new Uint8Array(4 + addressBytes);
  putU32le(key, 0, length);
  key.set(address, 4);
  return ok(key);
}

/** The text of such a key, or undefined where `encodePrefixKey` would not read it back. */
export function decodePrefixKey(key: Uint8Array): string | undefined {
  const addressBytes = key.length === 8 ? 4 : 16;
  const length = u32le(key, 0);
  if (key.length !== 4 + addressBytes || length > addressBytes * 8) return undefined;
  const text = `${formatAddress(key, 4, addressBytes)}/${length}`;
  return encodePrefixKey(text, addressBytes, "").ok ? text : undefined;
}

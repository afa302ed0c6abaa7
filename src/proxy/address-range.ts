import { parseAddress, unmapAddress } from "../packet/address.ts";
import type { DestinationRange } from "./plan.ts";

/** A range of addresses in bytes, and the one port that is meant. */
export interface AddressRange {
  readonly address: Uint8Array;
  readonly prefixLength: number;
  /** Undefined: any. */
  readonly port: number | undefined;
}

export function rangeOf({ host, prefixLength, port }: DestinationRange): AddressRange {
  const address = parseAddress(host);
  if (address === undefined || !(prefixLength >= 0 && prefixLength <= address.length * 8))
    throw new RangeError(`${host}/${prefixLength} is no address range`);
  return { address, prefixLength, port };
}

/** Whether an address lies in the range, whatever its port. Other families never do. */
export function contains(range: AddressRange, address: Uint8Array): boolean {
  if (address.length !== range.address.length) return false;
  const wholeBytes = range.prefixLength >> 3;
  for (let i = 0; i < wholeBytes; i++) if (address[i] !== range.address[i]) return false;
  const restBits = range.prefixLength & 7;
  if (restBits === 0) return true;
  const difference = address[wholeBytes]! ^ range.address[wholeBytes]!;
  return difference >> (8 - restBits) === 0;
}

/** Whether `host`, an IP address in text, lies in one of the ranges. IPv4-mapped ones are IPv4. */
export function containsHost(ranges: readonly AddressRange[], host: string): boolean {
  const parsed = parseAddress(host);
  if (parsed === undefined) return false;
  const address = unmapAddress(parsed);
  return ranges.some((range) => contains(range, address));
}

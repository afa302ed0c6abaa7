/** A whole number as people write it: a number, decimal or 0x text, true and false. Else undefined. */
export function parseInteger(input: unknown): bigint | undefined {
  switch (typeof input) {
    case "bigint":
      return input;
    case "boolean":
      return input ? 1n : 0n;
    case "number":
      // Beyond 2⁵³ a number is no longer the one that was written.
      return Number.isSafeInteger(input) ? BigInt(input) : undefined;
    case "string": {
      const text = input.trim();
      if (text === "true" || text === "false") return text === "true" ? 1n : 0n;
      const [, sign, digits] = /^([+-]?)(0x[0-9a-f]{1,32}|\d{1,39})$/i.exec(text) ?? [];
      if (digits === undefined) return undefined;
      return sign === "-" ? -BigInt(digits) : BigInt(digits);
    }
    default:
      return undefined;
  }
}

/** Writes the low `size` bytes of a number; negative ones as two's complement. */
export function writeInteger(
  bytes: Uint8Array,
  at: number,
  size: number,
  value: bigint,
  networkOrder: boolean,
): void {
  for (let i = 0; i < size; i++)
    bytes[at + (networkOrder ? size - 1 - i : i)] = Number((value >> BigInt(8 * i)) & 0xffn);
}

export function readInteger(
  bytes: Uint8Array,
  at: number,
  size: number,
  signed: boolean,
  networkOrder: boolean,
): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--)
    value = (value << 8n) | BigInt(bytes[at + (networkOrder ? size - 1 - i : i)]!);
  return signed ? BigInt.asIntN(size * 8, value) : value;
}

/** Writes a bit field; bit 0 is the lowest of the first byte. */
export function writeBits(bytes: Uint8Array, bitAt: number, bits: number, value: bigint): void {
  for (let i = 0; i < bits; i++) {
    const at = (bitAt + i) >>> 3;
    const mask = 1 << ((bitAt + i) & 7);
    const set = ((value >> BigInt(i)) & 1n) === 1n;
    bytes[at] = set ? bytes[at]! | mask : bytes[at]! & ~mask;
  }
}

export function readBits(bytes: Uint8Array, bitAt: number, bits: number, signed: boolean): bigint {
  let value = 0n;
  for (let i = bits - 1; i >= 0; i--)
    value = (value << 1n) | BigInt((bytes[(bitAt + i) >>> 3]! >>> ((bitAt + i) & 7)) & 1);
  return signed ? BigInt.asIntN(bits, value) : value;
}

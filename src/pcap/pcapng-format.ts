/** Block types. draft-ietf-opsawg-pcapng §4. */
export const blockTypes = {
  sectionHeader: 0x0a0d0d0a,
  interfaceDescription: 1,
  /** Obsolete since 2009; old files have it. */
  packet: 2,
  simplePacket: 3,
  enhancedPacket: 6,
} as const;

/** In a section header, tells the section's byte order. */
export const byteOrderMagic = 0x1a2b3c4d;

/** Type and length in front of a block's body, and the length once more behind it. */
export const blockOverheadBytes = 12;

/** Byte offsets in an enhanced packet block, from its type on. draft-ietf-opsawg-pcapng §4.3. */
export const enhancedPacket = {
  interfaceId: 8,
  timeHigh: 12,
  timeLow: 16,
  capturedLength: 20,
  originalLength: 24,
  data: 28,
} as const;

/** Option codes. draft-ietf-opsawg-pcapng §3.5 and §4.2. */
export const optionCodes = {
  end: 0,
  comment: 1,
  interfaceName: 2,
  timestampResolution: 9,
  timestampOffset: 14,
} as const;

/** Bytes with padding to a multiple of four. */
export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}

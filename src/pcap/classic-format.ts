/** First word of a file, in its byte order: what the fraction field of its records counts. */
export const classicMagics = { microseconds: 0xa1b2c3d4, nanoseconds: 0xa1b23c4d } as const;

/** Byte offsets in the file header. draft-ietf-opsawg-pcap §4. */
export const classicHeader = {
  magic: 0,
  majorVersion: 4,
  minorVersion: 6,
  snapLength: 16,
  linkType: 20,
  bytes: 24,
} as const;

/** Byte offsets in a packet record. draft-ietf-opsawg-pcap §5. */
export const classicRecord = {
  seconds: 0,
  fraction: 4,
  capturedLength: 8,
  originalLength: 12,
  bytes: 16,
} as const;

import { UserError } from "../common/user-error.ts";

/**
 * The longest packet that is read or written: libpcap's MAXIMUM_SNAPLEN, which no real capture of
 * the link types that Weir knows goes beyond. A longer one is an error, not an allocation.
 */
export const maxPacketBytes = 262_144;

/** One packet of a capture file. */
export interface CapturedPacket {
  /** 0 for the first packet of the file. */
  readonly index: number;
  /** Where its record or block starts in the file, in bytes. */
  readonly offset: number;
  /** LINKTYPE_ number of the tcpdump group: 1 is Ethernet. */
  readonly linkType: number;
  /** The interface's number in its pcapng section; 0 in classic files. */
  readonly interfaceId: number;
  /** The byte order of the file (of the section, in pcapng): mostly of the machine that captured. */
  readonly bigEndian: boolean;
  /** Since 1970, UTC; 0 with 0 nanoseconds where the block carries no time (pcapng's simple packets). */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanoseconds: number;
  /** Bytes that were on the wire; `data` may hold fewer. */
  readonly originalLength: number;
  /** The packet's own piece of the bytes that were read: it stays valid, and keeps them in memory. */
  readonly data: Uint8Array;
  /** pcapng's packet comments; empty in classic files. */
  readonly comments: readonly string[];
}

/** What is written of a packet. A `CapturedPacket` is one. */
export type PacketRecord = Pick<
  CapturedPacket,
  "seconds" | "nanoseconds" | "originalLength" | "data"
> &
  Partial<Pick<CapturedPacket, "interfaceId" | "comments">>;

/** Codes of what can be wrong with a capture. */
export type CaptureFault =
  /** No byte at all. */
  | "CAPTURE_EMPTY"
  /** Not a capture file, or a kind of one that Weir does not read. */
  | "CAPTURE_FORMAT"
  /** The file ends within a header, record or block. */
  | "CAPTURE_TRUNCATED"
  /** A length that cannot be, or that Weir refuses to hold in memory. */
  | "CAPTURE_BAD_LENGTH"
  /** A block that contradicts the blocks before it. */
  | "CAPTURE_BAD_BLOCK";

/** What is wrong with a capture, and at which byte. The packets before it are whole. */
export class CaptureError extends UserError {
  /** Bytes from the start of the file to the record, block or field that is wrong. */
  readonly offset: number;

  constructor(code: CaptureFault, name: string, offset: number, what: string, fix?: string) {
    super(code, `${name}, byte ${offset}`, what, fix);
    this.name = "CaptureError";
    this.offset = offset;
  }
}

import type { ByteQueue } from "./byte-queue.ts";
import type { CapturedPacket, CaptureError } from "./captured-packet.ts";

/** Reads the records of one format from a queue. */
export interface FormatDecoder {
  /** The next packet; undefined where the queue holds no whole one; an error ends the file. */
  next(queue: ByteQueue): CapturedPacket | CaptureError | undefined;
  /** What the file ends within, now that no more bytes come; undefined between two records. */
  unfinished(queue: ByteQueue): string | undefined;
}

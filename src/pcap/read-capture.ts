import { CaptureDecoder } from "./capture-decoder.ts";
import type { CapturedPacket } from "./captured-packet.ts";

/**
 * The packets of a capture that comes in chunks, as `fs.createReadStream` or stdin give them.
 * The next chunk is asked for when the packets of the last have been taken, so a slow taker holds
 * the source back; memory stays bounded by one chunk and one record (at most 1 MiB).
 *
 * Throws a `CaptureError` (what, and at which byte) where the capture is damaged or not whole,
 * after all packets in front of that place; an exception as iterators have no other way to end
 * with an error. Errors of the source itself pass through. `name` is what errors call the capture.
 */
export async function* readCapture(
  source: AsyncIterable<Uint8Array>,
  name = "capture",
): AsyncGenerator<CapturedPacket, void, undefined> {
  const decoder = new CaptureDecoder(name);
  for await (const chunk of source) {
    decoder.push(chunk);
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) yield packet;
    if (decoder.error !== undefined) throw decoder.error;
  }
  const error = decoder.finish();
  if (error !== undefined) throw error;
}

/** As `readCapture`, for a capture that is in memory whole. */
export function* readCaptureBytes(
  bytes: Uint8Array,
  name = "capture",
): Generator<CapturedPacket, void, undefined> {
  const decoder = new CaptureDecoder(name);
  decoder.push(bytes);
  for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) yield packet;
  const error = decoder.finish();
  if (error !== undefined) throw error;
}

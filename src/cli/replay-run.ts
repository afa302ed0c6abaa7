import type { Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Verdict } from "../filter/verdict.ts";
import { verdictComment } from "../filter/verdict-comment.ts";
import { framedLinkTypes, type LinkFraming, linkFraming } from "../packet/link-framing.ts";
import { CaptureDecoder } from "../pcap/capture-decoder.ts";
import { type CapturedPacket, maxPacketBytes } from "../pcap/captured-packet.ts";
import { linkTypeText } from "../pcap/link-type-name.ts";
import type { CaptureReplay, Replayed } from "../proxy/capture-replay.ts";
import { systemReason } from "./read-text.ts";
import type { CaptureInput, CaptureOutputs } from "./replay-files.ts";
import type { ReplayProgress } from "./replay-progress.ts";
import type { ReplaySummary } from "./replay-summary.ts";

/** LINKTYPE_ETHERNET. */
const ethernet = 1;

/** All that one replay works on. */
export interface ReplayRun {
  readonly input: CaptureInput;
  readonly outputs: CaptureOutputs;
  readonly replay: CaptureReplay;
  readonly summary: ReplaySummary;
  readonly progress: ReplayProgress | undefined;
  /** The user has seen enough. */
  readonly isInterrupted: () => boolean;
}

/**
 * Replays a capture to its end, or to where it is damaged or the user interrupts: why it is not
 * whole, else undefined. The source is read on when what came of the last piece has been written,
 * so that memory stays bounded.
 */
export async function replayCapture(run: ReplayRun): Promise<UserError | undefined> {
  const { input, outputs, isInterrupted } = run;
  const decoder = new CaptureDecoder(input.name);
  let bytes = 0;
  try {
    for await (const chunk of input.source as AsyncIterable<Uint8Array>) {
      decoder.push(chunk);
      const error = replayDecoded(decoder, run) ?? decoder.error;
      if (error !== undefined) return error;
      bytes += chunk.length;
      run.progress?.tick(run.summary.packets, bytes);
      await outputs.passed?.sink.ready();
      await outputs.dropped?.sink.ready();
      if (isInterrupted()) return undefined;
    }
  } catch (error) {
    // A source that was destroyed ends with an error of its own.
    if (isInterrupted()) return undefined;
    if (!(error instanceof Error) || !("code" in error)) throw error;
    return new UserError("FILE_UNREADABLE", input.name, systemReason(error));
  }
  const error = decoder.finish();
  // A capture without packets makes files without packets.
  return error === undefined && !outputs.isOpen ? outputs.open() : error;
}

/** Replays the packets that are whole; why that cannot go on. */
function replayDecoded(decoder: CaptureDecoder, run: ReplayRun): UserError | undefined {
  const { input, outputs, replay, summary } = run;
  let linkType = -1;
  let framing: LinkFraming | undefined;
  for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
    if (packet.linkType !== linkType) {
      linkType = packet.linkType;
      framing = linkFraming(linkType);
    }
    if (framing === undefined)
      return new UserError(
        "CAPTURE_LINK_TYPE",
        `${input.name}, packet ${packet.index}`,
        `filters see Ethernet frames, and packets of ${linkTypeText(linkType)} cannot be made into them`,
        `frames are made of ${framedLinkTypes}`,
      );
    if (!outputs.isOpen) {
      const error = outputs.open();
      if (error !== undefined) return error;
    }
    const replayed = replay.judge(packet, framing);
    summary.add(packet, replayed.verdict, replayed.filter, replayed.frameBytes);
    const written = write(outputs, packet, replayed);
    if (written?.ok === false) return written.error;
  }
  return outputs.passed?.sink.error ?? outputs.dropped?.sink.error;
}

function write(
  { passed, dropped }: CaptureOutputs,
  packet: CapturedPacket,
  { verdict, filter, frame }: Replayed,
): Result<undefined, UserError> | undefined {
  const isDropped = verdict.kind === "drop" || verdict.kind === "aborted";
  const output = isDropped ? dropped : passed;
  if (output === undefined) return undefined;
  const { seconds, nanoseconds } = packet;
  const own = comment(verdict, filter);
  const comments = packet.comments.length === 0 ? own : [...packet.comments, ...own];
  if (isDropped) {
    const { originalLength, data } = packet;
    const record = { seconds, nanoseconds, originalLength, data, comments };
    return output.write(record, packet.linkType, packet.interfaceId);
  }
  // What was cut when it was captured stays marked as cut.
  const missing = Math.max(0, packet.originalLength - packet.data.length);
  const originalLength = Math.min(frame.length + missing, 2 ** 32 - 1);
  const data = frame.subarray(0, maxPacketBytes);
  const record = { seconds, nanoseconds, originalLength, data, comments };
  return output.write(record, ethernet, packet.interfaceId);
}

const comments = new WeakMap<Verdict, Map<string | undefined, readonly string[]>>();

/** What is said of a packet. Verdicts are shared objects: so are their comments. */
function comment(verdict: Verdict, filter: string | undefined): readonly string[] {
  let byFilter = comments.get(verdict);
  if (byFilter === undefined) {
    byFilter = new Map();
    comments.set(verdict, byFilter);
  }
  let known = byFilter.get(filter);
  if (known === undefined) {
    known = [verdictComment(verdict, filter)];
    byFilter.set(filter, known);
  }
  return known;
}

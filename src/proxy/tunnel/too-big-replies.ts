import { maxPacketTooBigBytes, writePacketTooBig } from "../../packet/packet-too-big.ts";
import type { Arrival } from "./arrival.ts";

/** ICMP errors a second: RFC 1812 §4.3.2.8 and RFC 4443 §2.4 (f) ask for a limit. */
const repliesPerSecond = 100;

/** Tells senders of packets that are too long how long they may be. */
export class TooBigReplies {
  readonly #nowMs: () => number;
  readonly #scratch = new Uint8Array(maxPacketTooBigBytes);
  #windowMs = Number.NEGATIVE_INFINITY;
  #sent = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /**
   * The datagram that answers `arrival`, under its own tunnel header: its packet was `excess` bytes
   * too long. `datagram` begins with as much of it as `quotedBytes`, as it came. Undefined where no
   * answer may be sent, or this second had its share.
   */
  answer(arrival: Arrival, datagram: Uint8Array, excess: number): Uint8Array | undefined {
    const { payloadAt, frame } = arrival;
    if (frame.version === 0) return undefined;
    const mtu = frame.payloadEnd - frame.networkOffset - excess;
    if (mtu <= 0) return undefined;
    const length = writePacketTooBig(datagram, payloadAt, frame, mtu, this.#scratch, 0);
    if (length === 0 || !this.#allowed()) return undefined;
    const answer = new Uint8Array(payloadAt + length);
    arrival.writeHeader(answer, 0);
    answer.set(this.#scratch.subarray(0, length), payloadAt);
    return answer;
  }

  #allowed(): boolean {
    const now = this.#nowMs();
    if (now - this.#windowMs >= 1000) {
      this.#windowMs = now;
      this.#sent = 0;
    }
    return this.#sent++ < repliesPerSecond;
  }
}

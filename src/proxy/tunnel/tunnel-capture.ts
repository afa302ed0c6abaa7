import type { DropReason } from "../../common/drop-reason.ts";
import type { CapturedEnd, CapturedTunnel, CapturePlace } from "../../filter/capture-ring.ts";
import type { CaptureTap } from "../../filter/capture-tap.ts";
import type { Chain } from "../../filter/chain.ts";
import type { Direction, Verdict } from "../../filter/verdict.ts";
import { formatAddress, parseAddress, unmapAddress } from "../../packet/address.ts";
import type { Arrival } from "./arrival.ts";
import { writeEthernet } from "./missing-ethernet.ts";
import type { Peer } from "./peers.ts";

/** The outer addresses and ports of a frame, far end and our own, as sockets have them. */
export interface OuterEnds {
  readonly far: CapturedEnd;
  readonly own: CapturedEnd;
}

/**
 * What captures are told of one direction of a tunnel: each frame with what was around it, its verdict,
 * and what became of it after that. All of it is made only while there is a capture.
 */
export class TunnelCapture {
  /** The listener's name. */
  listener: string;
  readonly direction: Direction;
  readonly #tap: CaptureTap;
  readonly #endsOf: (arrival: Arrival) => OuterEnds;
  /** Of the frame that was begun last and is not settled. */
  #place: CapturePlace | undefined;

  constructor(
    tap: CaptureTap,
    { listener, direction }: Pick<CapturePlace, "listener" | "direction">,
    endsOf: (arrival: Arrival) => OuterEnds,
  ) {
    this.#tap = tap;
    this.listener = listener;
    this.direction = direction;
    this.#endsOf = endsOf;
  }

  get isActive(): boolean {
    return this.#tap.isActive;
  }

  /** `arrival`'s frame, in `slot`, is about to be judged. Followed by `judged` and `settled`. */
  begin(slot: number, arrival: Arrival): void {
    const place = this.#placeOf(arrival, arrival.peer);
    this.#place = this.#tap.begin(slot, place) ? place : undefined;
  }

  judged(slot: number, chain: Chain, verdict: Verdict): void {
    if (this.#place !== undefined) this.#tap.judged(slot, this.#place, chain, verdict);
  }

  /** What was judged last went its way, or for this reason nowhere. */
  settled(dropped: DropReason | undefined): void {
    if (this.#place === undefined) return;
    this.#place = undefined;
    this.#tap.settled(dropped);
  }

  /** A frame that no filter sees; `peer`: who sent it, if that is known. */
  refused(arrival: Arrival, peer: Peer | undefined, ifindex: number, reason: DropReason): void {
    this.#tap.refused(frameOf(arrival), ifindex, this.#placeOf(arrival, peer), reason);
  }

  #placeOf(arrival: Arrival, peer: Peer | undefined): CapturePlace {
    const { protocol, vni, header, payloadAt } = arrival;
    const { far, own } = this.#endsOf(arrival);
    const farBytes = bytesOf(far.address);
    const ownBytes = bytesOf(own.address);
    // A wildcard socket of both families took what came from either.
    const ours = ownBytes.length === farBytes.length ? ownBytes : new Uint8Array(farBytes.length);
    const tunnel: CapturedTunnel = {
      protocol,
      peer: peer?.name,
      vni,
      far: { address: textOf(farBytes), port: far.port },
      own: { address: textOf(ours), port: own.port },
      header: header.subarray(0, payloadAt),
    };
    return { listener: this.listener, direction: this.direction, tunnel };
  }
}

/** The frame as filters would have seen it, be it short. */
function frameOf(arrival: Arrival): Uint8Array {
  const { datagram, payloadAt, missingBytes, etherType } = arrival;
  const inner = datagram.subarray(payloadAt);
  if (missingBytes === 0) return inner;
  const frame = new Uint8Array(missingBytes + inner.length);
  frame.set(inner, missingBytes);
  writeEthernet(frame, 0, etherType);
  return frame;
}

function bytesOf(address: string): Uint8Array {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new RangeError(`"${address}" is no IP address`);
  return unmapAddress(parsed);
}

function textOf(bytes: Uint8Array): string {
  return formatAddress(bytes, 0, bytes.length === 4 ? 4 : 16);
}

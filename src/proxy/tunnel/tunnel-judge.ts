import type { DropReason } from "../../common/drop-reason.ts";
import { describeFrame, frameOffset } from "../../engine/packet-slot.ts";
import { hasVlanTag } from "../../engine/socket-context.ts";
import {
  describeTunnel,
  type TunnelOrigin,
  type TunnelRoute,
  tunnelRoute,
} from "../../engine/tunnel-info.ts";
import type { CapturePlace } from "../../filter/capture-ring.ts";
import type { Chain } from "../../filter/chain.ts";
import type { Verdict } from "../../filter/verdict.ts";
import { dropFor, passed } from "../../filter/verdict-of.ts";
import { deriveMac, parseAddress, unmapAddress } from "../../packet/address.ts";
import { ethernet, etherTypes } from "../../packet/ethernet.ts";
import { geneveHeaderBytes } from "../../packet/geneve.ts";
import { ipv4 } from "../../packet/ipv4.ts";
import { ipv6 } from "../../packet/ipv6.ts";
import {
  FRAME_CAPACITY,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_OUTGOING,
  SLOT_WROTE,
} from "../../runtime/wasm/layout.ts";
import type { JudgeParts } from "../frame-judge.ts";
import type { Arrival } from "./arrival.ts";
import { type Encapsulation, isIp } from "./encapsulation.ts";

/** What a chain made of a tunnel's frame. Valid until the next is judged: one object serves all. */
export interface TunnelJudgement {
  /** The chain's, or a drop where the frame cannot go on as it is now. */
  verdict: Verdict;
  /** Length of the frame as it came, from its Ethernet header. */
  frameBytes: number;
  /** What goes out: the datagram as it came, or a new one with what filters wrote. */
  datagram: Uint8Array;
  /** Through which network and to which peer, where a filter has said so. */
  route: TunnelRoute | undefined;
}

type TunnelJudgeParts = Pick<
  JudgeParts,
  "arena" | "slots" | "cpu" | "captures" | "refreshClock"
> & {
  /** The address that the tunnel listens on. */
  readonly host: string;
};

const anyAddress = { 4: new Uint8Array(4), 6: new Uint8Array(16) } as const;
/** Outer addresses remembered. What a stranger sends is not to fill memory. */
const maxRemembered = 1024;

type MutablePlace = { -readonly [Key in keyof CapturePlace]: CapturePlace[Key] };

/**
 * Runs a chain over true frames. Nothing in them is Weir's own, so nothing that a filter writes is
 * refused but what the tunnel's header cannot carry: addresses, VLAN tags and whole new headers go
 * out as the filter left them.
 *
 * An IP packet without an Ethernet header (GENEVE) is given one for the filters' eyes, with MAC
 * addresses derived from its own, and loses it again on the way out.
 */
export class TunnelJudge {
  #chain: Chain;
  readonly #parts: TunnelJudgeParts;
  readonly #place: MutablePlace;
  readonly #encapsulation: Encapsulation;
  readonly #origin: { -readonly [Key in keyof TunnelOrigin]: TunnelOrigin[Key] } = {
    vni: 0,
    source: anyAddress[4],
    destination: anyAddress[4],
    datagram: anyAddress[4],
    optionsAt: 0,
    optionsEnd: 0,
  };
  readonly #judgement: TunnelJudgement = {
    verdict: passed,
    frameBytes: 0,
    datagram: new Uint8Array(0),
    route: undefined,
  };
  /** Outer addresses as bytes, by their text. */
  readonly #outer = new Map<string, Uint8Array>();

  constructor(chain: Chain, encapsulation: Encapsulation, parts: TunnelJudgeParts & CapturePlace) {
    this.#chain = chain;
    this.#encapsulation = encapsulation;
    this.#parts = parts;
    this.#place = { listener: parts.listener, direction: parts.direction, tunnel: undefined };
  }

  /** Asks another chain from the next frame on, for a listener that may have another name. */
  follow(chain: Chain, listener: string): void {
    this.#chain = chain;
    this.#place.listener = listener;
  }

  judge(arrival: Arrival): TunnelJudgement {
    const judgement = this.#judgement;
    judgement.verdict = passed;
    judgement.frameBytes = arrival.frameBytes;
    judgement.datagram = arrival.datagram;
    judgement.route = undefined;
    if (this.#chain.isEmpty && !this.#parts.captures.isActive) return judgement;
    if (judgement.frameBytes > FRAME_CAPACITY) return this.#drop("frame_too_large");
    const { arena, cpu, slots, refreshClock, captures } = this.#parts;
    const slot = slots.acquire();
    if (slot === undefined) return this.#drop("no_packet_slot");
    const at = slot + frameOffset;
    const { datagram, payloadAt, missingBytes } = arrival;
    arena.copyIn(datagram, at + missingBytes, payloadAt);
    if (missingBytes > 0) writeEthernet(arena.bytes, at, arrival.etherType);
    describeFrame(arena, slot, judgement.frameBytes, arrival.peer.ifindex, cpu);
    if (this.#place.direction === "egress") arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    else describeTunnel(arena, slot, this.#originOf(arrival));
    refreshClock();
    const place = this.#place;
    place.tunnel = arrival;
    const isCaptured = captures.isActive && captures.begin(slot, place);
    judgement.verdict = this.#chain.judge(slot);
    this.#takeOver(slot, arrival);
    if (isCaptured) captures.end(slot, place, this.#chain, judgement.verdict);
    slots.release(slot);
    return judgement;
  }

  /** The outer header as far as a socket tells of it: not the hop limit, and no wildcard's address. */
  #originOf({ vni, outer, datagram, payloadAt, protocol }: Arrival): TunnelOrigin {
    const source = this.#outerAddress(outer.address);
    const own = this.#outerAddress(this.#parts.host);
    const origin = this.#origin;
    origin.vni = vni;
    origin.source = source;
    origin.destination =
      own.length === source.length ? own : anyAddress[source.length === 4 ? 4 : 6];
    origin.datagram = datagram;
    origin.optionsAt = protocol === "geneve" ? geneveHeaderBytes : payloadAt;
    origin.optionsEnd = payloadAt;
    return origin;
  }

  #outerAddress(text: string): Uint8Array {
    let bytes = this.#outer.get(text);
    if (bytes === undefined) {
      const parsed = parseAddress(text);
      bytes = parsed === undefined ? anyAddress[4] : unmapAddress(parsed);
      if (this.#outer.size === maxRemembered) this.#outer.clear();
      this.#outer.set(text, bytes);
    }
    return bytes;
  }

  #drop(reason: DropReason): TunnelJudgement {
    this.#judgement.verdict = dropFor(reason);
    return this.#judgement;
  }

  /** Makes a new datagram where a filter wrote to the frame, or cut it. */
  #takeOver(slot: number, arrival: Arrival): void {
    const verdict = this.#judgement.verdict;
    if (verdict.kind === "drop" || verdict.kind === "aborted") return;
    const { bytes, words } = this.#parts.arena;
    this.#judgement.route = tunnelRoute(this.#parts.arena, slot);
    // A tag beside the frame is one that the frame's bytes do not have.
    if (hasVlanTag(words, slot)) {
      this.#drop("not_routable");
      return;
    }
    const wrote = (words[(slot + SLOT_FLAGS) >> 2]! & SLOT_WROTE) !== 0;
    const cutTo = verdict.kind === "pass" ? verdict.cutTo : undefined;
    if (!wrote && cutTo === undefined) return;
    let start = words[(slot + SLOT_DATA) >> 2]!;
    let end = words[(slot + SLOT_DATA_END) >> 2]!;
    // No less than an Ethernet header is a frame.
    if (cutTo !== undefined) end = Math.min(end, start + Math.max(cutTo, ethernet.headerBytes));
    if (end - start < ethernet.headerBytes) {
      this.#drop("frame_truncated");
      return;
    }
    let etherType = arrival.etherType;
    if (isIp(etherType)) {
      etherType =
        (bytes[start + ethernet.etherType]! << 8) | bytes[start + ethernet.etherType + 1]!;
      if (!isIp(etherType)) {
        this.#drop("not_routable");
        return;
      }
      start += ethernet.headerBytes;
    }
    const header = arrival.payloadAt;
    const datagram = new Uint8Array(header + end - start);
    datagram.set(arrival.datagram.subarray(0, header));
    datagram.set(bytes.subarray(start, end), header);
    if (etherType !== arrival.etherType) this.#encapsulation.setEtherType(datagram, etherType);
    this.#judgement.datagram = datagram;
  }
}

/** Writes an Ethernet header at `at`, in front of an IP packet whose headers have been checked. */
function writeEthernet(bytes: Uint8Array, at: number, etherType: number): void {
  const packet = at + ethernet.headerBytes;
  const isIpv4 = etherType === etherTypes.ipv4;
  const { source, destination } = isIpv4 ? ipv4 : ipv6;
  const length = isIpv4 ? 4 : 16;
  const mac = (from: number): Uint8Array =>
    deriveMac(bytes.subarray(packet + from, packet + from + length));
  bytes.set(mac(destination), at + ethernet.destination);
  bytes.set(mac(source), at + ethernet.source);
  bytes[at + ethernet.etherType] = etherType >>> 8;
  bytes[at + ethernet.etherType + 1] = etherType;
}

import type { DropReason } from "../common/drop-reason.ts";
import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { describeFrame, frameOffset } from "../engine/packet-slot.ts";
import { shortfall } from "../filter/broadcasts.ts";
import type { Chain } from "../filter/chain.ts";
import type { Broadcast, Direction, Verdict } from "../filter/verdict.ts";
import { dropFor, passed } from "../filter/verdict-of.ts";
import { ethernet } from "../packet/ethernet.ts";
import { FrameView } from "../packet/frame-view.ts";
import type { LinkFraming } from "../packet/link-framing.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  FRAME_CAPACITY,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_OUTGOING,
  SLOT_WROTE,
} from "../runtime/wasm/layout.ts";
import { AddressStates } from "./address-states.ts";
import { CaptureClock } from "./capture-clock.ts";
import { compilePlan } from "./compile-plan.ts";
import { Destinations, upstreamsOf } from "./destinations.ts";
import { loadChains, type WorkerEvents, workerParts, workerPlan } from "./load-chains.ts";
import type { ListenerPlan, ProxyPlan } from "./plan.ts";
import { Tally } from "./tally.ts";

/** What became of a packet. Valid until the next one: one object serves all. */
export interface Replayed {
  verdict: Verdict;
  /** The filter that decided; undefined where every filter went on, or none was asked. */
  filter: string | undefined;
  /** Length of the frame that the filters saw first; of the packet where none could be made of it. */
  frameBytes: number;
  /** Bytes of the frame as the filters left it, cut where they said so. Part of the packet slot. */
  frame: Uint8Array;
}

/** What replaying takes of a captured packet: `pcap`'s `CapturedPacket` is one. */
export interface ReplayPacket {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly data: Uint8Array;
}

/** A packet that no frame could be made of leaves nothing. */
const noFrame = new Uint8Array(0);

/**
 * One listener's chain over the packets of a capture, as if they came in: in the first worker's
 * place, at the packets' own times, counted as the listener counts. A replay of the same packets
 * gives the same: random numbers come from a fixed seed.
 *
 * The chain sees every frame, also those that no socket would deliver (ARP, a fragment). What it
 * may do with a frame that the listener could have carried is what the listener would let it:
 * redirects lead to configured ports, rewritten addresses to configured destinations. A tunnel's frames
 * may have any addresses, and go to peers too; who sent one is not in a capture.
 */
export class CaptureReplay {
  readonly #direction: Direction;
  readonly #listener: ListenerPlan;
  readonly #arena: Arena;
  readonly #chain: Chain;
  readonly #clock: CaptureClock;
  readonly #tally: Tally;
  readonly #slot: number;
  readonly #destinations: Destinations;
  /** Numbers of tunnels' peers. */
  readonly #peers: ReadonlySet<number>;
  readonly #before = new FrameView();
  readonly #after = new FrameView();
  /** A frame as it came, made again where a filter wrote to it. */
  readonly #original = new Uint8Array(FRAME_CAPACITY);
  readonly #replayed: Replayed = {
    verdict: passed,
    filter: undefined,
    frameBytes: 0,
    frame: noFrame,
  };

  private constructor(
    plan: ProxyPlan,
    listener: number,
    direction: Direction,
    parts: {
      arena: Arena;
      chain: Chain;
      clock: CaptureClock;
      tally: Tally;
      slot: number;
      destinations: Destinations;
    },
  ) {
    this.#direction = direction;
    this.#listener = plan.listeners[listener]!;
    this.#arena = parts.arena;
    this.#chain = parts.chain;
    this.#clock = parts.clock;
    this.#tally = parts.tally;
    this.#slot = parts.slot;
    this.#destinations = parts.destinations;
    this.#peers = new Set(plan.ports.flatMap((port) => ("peer" in port ? [port.ifindex] : [])));
  }

  /** Loads the filters for listener number `listener` of a plan; nothing is bound or sent. */
  static async create(
    plan: ProxyPlan,
    listener: number,
    direction: Direction,
    events: WorkerEvents,
  ): Promise<Result<CaptureReplay, UserError>> {
    const clock = new CaptureClock();
    const parts = workerParts(plan, 0, events, clock, seededRandom());
    const compiled = await compilePlan(plan, 0);
    if (!compiled.ok) return compiled;
    const loaded = await loadChains(compiled.value, parts);
    if (!loaded.ok) return loaded;
    const { counters, chain } = loaded.value;
    const { arena } = parts.context;
    const slot = workerPlan(plan, 0).slots;
    const tally = new Tally(counters, listener, direction);
    const { [direction]: filters } = plan.listeners[listener]!;
    const states = new AddressStates(plan.upstreams, counters, parts.nowMs);
    return ok(
      new CaptureReplay(plan, listener, direction, {
        arena,
        chain: chain(filters),
        clock,
        tally,
        slot,
        destinations: new Destinations(
          plan,
          plan.listeners[listener]!,
          upstreamsOf(plan.upstreams, states, 0),
        ),
      }),
    );
  }

  /** Judges one packet; `framing` is that of its link type. */
  judge(packet: ReplayPacket, framing: LinkFraming): Replayed {
    const replayed = this.#replayed;
    replayed.filter = undefined;
    replayed.frame = noFrame;
    this.#clock.advance(packet.seconds, packet.nanoseconds);
    replayed.verdict = this.#judge(packet, framing);
    const { verdict, frameBytes } = replayed;
    if (verdict.kind === "drop" || verdict.kind === "aborted")
      this.#tally.ended(verdict, frameBytes);
    else if (verdict.kind === "redirect" && verdict.broadcast !== undefined)
      this.#countBroadcast(verdict.broadcast, frameBytes);
    else this.#tally.forwarded(verdict.kind, frameBytes);
    return replayed;
  }

  /** As the listener does: a packet for each port. */
  #countBroadcast(broadcast: Broadcast, frameBytes: number): void {
    const missing = shortfall(broadcast);
    if (missing !== undefined) this.#tally.dropped(missing, frameBytes);
    for (const port of broadcast.ports)
      if (!this.#reaches(port)) this.#tally.dropped("redirect_unknown_port", frameBytes);
      else this.#tally.forwarded("redirect", frameBytes);
  }

  #judge({ data }: ReplayPacket, framing: LinkFraming): Verdict {
    const replayed = this.#replayed;
    const { bytes, words } = this.#arena;
    const slot = this.#slot;
    replayed.frameBytes = data.length;
    if (data.length > FRAME_CAPACITY - ethernet.headerBytes) return dropFor("frame_too_large");
    const length = framing(data, bytes, slot + frameOffset);
    if (typeof length === "string") return dropFor(length);
    replayed.frameBytes = length;
    describeFrame(this.#arena, slot, length, this.#listener.ifindex, 0);
    if (this.#direction === "egress") words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    let verdict = this.#chain.judge(slot);
    replayed.filter = this.#chain.decider?.name;
    if (verdict.kind !== "drop" && verdict.kind !== "aborted") {
      const wrote = (words[(slot + SLOT_FLAGS) >> 2]! & SLOT_WROTE) !== 0;
      const refused =
        this.#refuse(verdict) ?? (wrote ? this.#reread(data, framing, verdict) : undefined);
      if (refused !== undefined) verdict = dropFor(refused);
    }
    const start = words[(slot + SLOT_DATA) >> 2]!;
    const end = words[(slot + SLOT_DATA_END) >> 2]!;
    const cut = verdict.kind === "pass" ? (verdict.cutTo ?? end - start) : end - start;
    replayed.frame = bytes.subarray(start, Math.min(start + cut, end));
    return verdict;
  }

  /** Why the listener would not send a packet where its verdict says. */
  #refuse(verdict: Verdict): DropReason | undefined {
    if (verdict.kind === "pass") return undefined;
    // Replies go to the client and nowhere else.
    if (this.#direction === "egress") return "not_routable";
    if (this.#listener.tunnel?.mode === "mirror") return "tunnel_mirror_only";
    if (verdict.kind !== "redirect") return undefined;
    if (verdict.broadcast !== undefined) return this.#refuseBroadcast(verdict.broadcast);
    return this.#reaches(verdict.ifindex) ? undefined : "redirect_unknown_port";
  }

  /** Whether a redirect to `ifindex` leads anywhere: to an upstream, or from a tunnel to any tunnel's peer. */
  #reaches(ifindex: number): boolean {
    if (this.#destinations.port(ifindex) !== undefined) return true;
    return this.#listener.tunnel !== undefined && this.#peers.has(ifindex);
  }

  /** What of its ports nobody knows is not told from what they are, so long as there are others. */
  #refuseBroadcast({ ports }: Broadcast): DropReason | undefined {
    if (this.#listener.protocol === "tcp") return "not_routable";
    if (ports.length === 0) return "redirect_no_port";
    return ports.some((port) => this.#reaches(port)) ? undefined : "redirect_unknown_port";
  }

  /** Why the listener would not send a frame as a filter rewrote it. */
  #reread(data: Uint8Array, framing: LinkFraming, verdict: Verdict): DropReason | undefined {
    if (this.#listener.tunnel !== undefined) return undefined;
    const { bytes, words } = this.#arena;
    const before = this.#before;
    const length = framing(data, this.#original, 0) as number;
    // What no socket would have delivered has no destination of the listener's either.
    if (before.bind(this.#original, 0, length) !== undefined || !before.routable) return undefined;
    const after = this.#after;
    const start = words[(this.#slot + SLOT_DATA) >> 2]!;
    const bad = after.bind(bytes, start, words[(this.#slot + SLOT_DATA_END) >> 2]!);
    if (bad !== undefined) return bad;
    if (!after.routable || after.protocol !== before.protocol) return "not_routable";
    if (verdict.kind === "tx") return undefined;
    if (after.sourcePort !== before.sourcePort || after.sourceAddress() !== before.sourceAddress())
      return "source_not_allowed";
    if (verdict.kind === "redirect" || this.#direction === "egress") return undefined;
    const host = after.destinationAddress();
    const port = after.destinationPort;
    if (port === before.destinationPort && host === before.destinationAddress()) return undefined;
    return this.#destinations.named(host, port) === undefined
      ? "destination_not_allowed"
      : undefined;
  }
}

/** Marsaglia's xorshift32: 32 random bits, the same in every replay. */
function seededRandom(): () => number {
  let state = 0x9e37_79b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

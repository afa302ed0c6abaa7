import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { describeFrame, frameOffset } from "../../src/engine/packet-slot.ts";
import { CaptureTap } from "../../src/filter/capture-tap.ts";
import { Chain } from "../../src/filter/chain.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { Endpoint, Flow } from "../../src/packet/flow.ts";
import { type TcpSegment, writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import { AccessLog } from "../../src/proxy/access-log.ts";
import { AddressStates } from "../../src/proxy/address-states.ts";
import { BatchSockets } from "../../src/proxy/batch-sockets.ts";
import { DescriptorSet } from "../../src/proxy/descriptor-set.ts";
import { Destinations, upstreamsOf } from "../../src/proxy/destinations.ts";
import { endpointKey } from "../../src/proxy/endpoint.ts";
import { FrameJudge } from "../../src/proxy/frame-judge.ts";
import type { Listener, ListenerParts } from "../../src/proxy/listener.ts";
import { PacketSlots } from "../../src/proxy/packet-slots.ts";
import type { DatagramIo, ListenerPlan } from "../../src/proxy/plan.ts";
import { SessionLimit } from "../../src/proxy/session-limit.ts";
import { SessionPorts } from "../../src/proxy/session-ports.ts";
import { TcpListener } from "../../src/proxy/tcp-listener.ts";
import { TcpWire } from "../../src/proxy/tcp-wire.ts";
import { PeerPorts } from "../../src/proxy/tunnel/peer-ports.ts";
import { TurnClock } from "../../src/proxy/turn-clock.ts";
import { UdpListener } from "../../src/proxy/udp-listener.ts";
import { WorkerNetwork } from "../../src/proxy/worker-network.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { EngineBench, unwrap } from "../engine/engine-bench.ts";
import { placesFrom } from "../support/counter-places.ts";

const shape = { listeners: 1, filters: 1, addresses: 1 };
const slotCount = 128;
const ifindex = 1000;

/** What a data worker has, on this thread, with the counting filter in the JIT. */
export class PathRig {
  readonly ingress: FrameJudge;
  readonly egress: FrameJudge;
  readonly #parts: Omit<ListenerParts, "plan" | "destinations">;
  readonly #slot: number;
  readonly #clients = new Map<string, number>();
  readonly #listeners: Listener[] = [];
  readonly #udp = new Map<DatagramIo, number>();

  private constructor(parts: Omit<ListenerParts, "plan" | "destinations">, slot: number) {
    const { arena, sums, slots, network, captures, clock } = parts;
    this.#parts = parts;
    this.#slot = slot;
    const judging = {
      arena,
      sums,
      slots,
      network,
      cpu: 0,
      ifindex,
      listener: "bench",
      captures,
      refreshClock: () => clock.refresh(),
    };
    this.ingress = new FrameJudge(parts.ingress, { ...judging, direction: "ingress" });
    this.egress = new FrameJudge(parts.egress, { ...judging, direction: "egress" });
    for (let port = 1; port <= 1000; port++)
      this.#clients.set(endpointKey("198.51.100.1", port), port);
    this.#clients.set(endpointKey("192.0.2.7", 5353), 0);
  }

  static async create(): Promise<PathRig> {
    const bench = new EngineBench(jit, 64 << 20);
    const { arena } = bench;
    const file = fileURLToPath(new URL("../../filters/count-by-protocol.o", import.meta.url));
    const object = unwrap(loadObject(readFileSync(file), file));
    const maps = object.maps.map((spec) => bench.map(spec.type, spec));
    const type = "xdp";
    const program = unwrap(linkProgram(object.programs[0]!, maps, type));
    const counters = new Counters(
      arena.memory,
      placesFrom(unwrap(arena.allocate(counterBytes(shape), "counters")), shape),
    );
    const clock = new TurnClock();
    const faults = new FaultReporter(
      (report) => {
        throw new Error(report.message);
      },
      () => clock.nowMs(),
    );
    const executable = bench.prepareLinked(program);
    const filter = new LoadedFilter(
      { name: "count", index: 0, type, executable },
      arena,
      counters,
      faults,
    );
    const slots = unwrap(arena.allocate(SLOT_BYTES * slotCount, "slots"));
    return new PathRig(
      {
        index: 0,
        ingress: new Chain([{ filter }]),
        egress: new Chain([]),
        peerPorts: new PeerPorts([]),
        counters,
        network: new WorkerNetwork({ listeners: [], ports: [] }, arena),
        sessionLimit: SessionLimit.alone(1000),
        arena,
        sums: bench.context.runtime,
        slots: new PacketSlots(slots, slotCount),
        clock,
        cpu: 0,
        sources: undefined,
        accessLog: new AccessLog(
          0,
          () => {},
          () => clock.nowMs(),
        ),
        captures: new CaptureTap(arena, 0, () => clock.nowMs()),
        sessionPorts: new SessionPorts(),
        onHeard: () => {},
        reusePort: false,
      },
      bench.slot,
    );
  }

  findClient(address: string, port: number): number | undefined {
    return this.#clients.get(endpointKey(address, port));
  }

  copyIntoSlot(payload: Buffer, headerBytes: number): void {
    this.#parts.arena.copyIn(payload, this.#slot + frameOffset + headerBytes);
  }

  /** The runtime's sum over bytes of the slot. */
  sum(bytes: number): number {
    const at = this.#slot + frameOffset;
    return this.#parts.sums.internetSum(at, at + bytes);
  }

  writeUdpFrame(flow: Flow, payloadBytes: number): void {
    const { arena } = this.#parts;
    const frameBytes = writeUdpFrame(arena.bytes, this.#slot + frameOffset, flow, payloadBytes);
    describeFrame(arena, this.#slot, frameBytes, ifindex, 0);
  }

  writeTcpFrame(flow: Flow, segment: TcpSegment): void {
    const { arena } = this.#parts;
    const frameBytes = writeTcpFrame(arena.bytes, this.#slot + frameOffset, flow, segment, 0);
    describeFrame(arena, this.#slot, frameBytes, ifindex, 0);
  }

  /** The segments of a whole connection without data, with the filter on ingress. */
  judgeConnection(client: Endpoint, listener: Endpoint): void {
    const wire = new TcpWire(client, listener, this.ingress, this.egress);
    wire.syn();
    wire.synAck();
    wire.ack();
    wire.fin("client");
    wire.fin("upstream");
  }

  /** The chain on the frame that was written last. */
  judgeSlot(): void {
    this.#parts.ingress.judge(this.#slot);
  }

  /** The port of a UDP listener, made once, in front of `upstreamPort`. */
  async udpListener(upstreamPort: number, io: DatagramIo): Promise<number> {
    const port = this.#udp.get(io) ?? (await this.#listen("udp", upstreamPort, io));
    this.#udp.set(io, port);
    return port;
  }

  /** Batches of their own. */
  async batchSockets(): Promise<BatchSockets> {
    const { arena, slots } = this.#parts;
    const made = await BatchSockets.create(arena, slots, new DescriptorSet());
    if (!made.ok) throw new Error(made.error);
    return made.value;
  }

  tcpListener(upstreamPort: number): Promise<number> {
    return this.#listen("tcp", upstreamPort);
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) await listener.stop(0);
  }

  async #listen(
    protocol: "udp" | "tcp",
    upstreamPort: number,
    io: DatagramIo = "dgram",
  ): Promise<number> {
    const plan: ListenerPlan = {
      name: "bench",
      protocol,
      listen: { host: "127.0.0.1", port: 0 },
      ifindex,
      upstream: 0,
      ingress: [0],
      egress: [],
      idleTimeoutMs: 60_000,
      maxSessions: 1000,
      localAddress: "127.0.0.1",
      onDrop: "reset",
      onSegmentDrop: "reset",
    };
    const addresses = [{ host: "127.0.0.1", port: upstreamPort }];
    const upstreams = [{ name: "upstream", addresses }];
    const { counters, clock } = this.#parts;
    const states = new AddressStates(upstreams, counters, () => clock.nowMs());
    const destinations = new Destinations({ ports: [] }, plan, upstreamsOf(upstreams, states, 0));
    const batches = io === "mmsg" ? await this.batchSockets() : undefined;
    const parts = { ...this.#parts, plan, destinations, batches };
    const listener = protocol === "udp" ? new UdpListener(parts) : new TcpListener(parts);
    const { port } = unwrap(await listener.listen());
    listener.open();
    this.#listeners.push(listener);
    return port;
  }
}

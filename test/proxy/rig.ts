import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type Socket,
} from "node:net";
import { dropReasons } from "../../src/common/drop-reason.ts";
import type { EngineContext, Executable, LinkedProgram } from "../../src/engine/engine.ts";
import { stackBytes } from "../../src/engine/engine.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { Broadcasts } from "../../src/filter/broadcasts.ts";
import { CaptureTap } from "../../src/filter/capture-tap.ts";
import { Chain } from "../../src/filter/chain.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { type FaultReport, FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import { verdictKinds } from "../../src/filter/verdict.ts";
import type { JudgingType } from "../../src/filter/verdict-of.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { createMap } from "../../src/maps/create-map.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { MapSpec } from "../../src/object/object-spec.ts";
import { type AccessLine, AccessLog } from "../../src/proxy/access-log.ts";
import { AddressStates } from "../../src/proxy/address-states.ts";
import { BatchSockets, batchSlots } from "../../src/proxy/batch-sockets.ts";
import { DescriptorSet } from "../../src/proxy/descriptor-set.ts";
import { Destinations, upstreamsOf } from "../../src/proxy/destinations.ts";
import { dgramSendingSockets } from "../../src/proxy/dgram-sending-socket.ts";
import type { Listener, ListenerParts } from "../../src/proxy/listener.ts";
import { PacketSlots } from "../../src/proxy/packet-slots.ts";
import type {
  AccessLogPlan,
  Address,
  ListenerPlan,
  PortPlan,
  UpstreamPlan,
} from "../../src/proxy/plan.ts";
import type { SendingSockets } from "../../src/proxy/sending-socket.ts";
import { SessionLimit } from "../../src/proxy/session-limit.ts";
import { SessionPorts } from "../../src/proxy/session-ports.ts";
import { TcpListener } from "../../src/proxy/tcp-listener.ts";
import { HealthCheck } from "../../src/proxy/tunnel/health-check.ts";
import { PeerPorts } from "../../src/proxy/tunnel/peer-ports.ts";
import { TunnelListener } from "../../src/proxy/tunnel/tunnel-listener.ts";
import { TurnClock } from "../../src/proxy/turn-clock.ts";
import { UdpListener } from "../../src/proxy/udp-listener.ts";
import { WorkerNetwork } from "../../src/proxy/worker-network.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import {
  F_BROADCAST,
  F_EXCLUDE_INGRESS,
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_FRAME_LIMIT,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_REDIRECT_MAP,
  SLOT_RETURN_LOW,
  SLOT_WROTE,
} from "../../src/runtime/wasm/layout.ts";
import { placesFrom } from "../support/counter-places.ts";

const runtimeModule = await compileRuntime();
const shape = { listeners: 1, filters: 8, addresses: 8, lanes: 16 };
const slotCount = 4;
/** How UDP listeners and tunnels of a rig carry datagrams: `WEIR_TEST_IO=mmsg` runs the same tests in batches. */
export const udpIo = process.env.WEIR_TEST_IO === "mmsg" ? "mmsg" : "dgram";

/** A frame under a test's own filter. */
export class SlotFrame {
  readonly #arena: Arena;
  readonly #slot: number;

  constructor(arena: Arena, slot: number) {
    this.#arena = arena;
    this.#slot = slot;
  }

  get #data(): number {
    return this.#arena.words[(this.#slot + SLOT_DATA) >> 2]!;
  }

  get length(): number {
    return this.#arena.words[(this.#slot + SLOT_DATA_END) >> 2]! - this.#data;
  }

  /** A copy of the frame. */
  get bytes(): Uint8Array {
    return this.#arena.bytes.slice(this.#data, this.#data + this.length);
  }

  /** Replaces bytes, as a program's stores would. */
  write(at: number, bytes: Uint8Array | readonly number[]): void {
    this.#arena.bytes.set(bytes, this.#data + at);
    this.wrote();
  }

  /** Moves the frame's end, as bpf_xdp_adjust_tail would; false where there is no room. */
  resize(length: number): boolean {
    const limit = this.#arena.words[(this.#slot + SLOT_FRAME_LIMIT) >> 2]!;
    if (length < 14 || this.#data + length > limit) return false;
    const end = this.#data + this.length;
    this.#arena.bytes.fill(0, end, Math.max(end, this.#data + length));
    this.#arena.words[(this.#slot + SLOT_DATA_END) >> 2] = this.#data + length;
    this.wrote();
    return true;
  }

  redirectTo(ifindex: number): number {
    this.#arena.words[(this.#slot + SLOT_REDIRECT_IFINDEX) >> 2] = ifindex;
    return 4;
  }

  /** As bpf_redirect_map with BPF_F_BROADCAST over one of the filter's maps. */
  broadcastTo(map: MapHandle, excludeIngress: boolean): number {
    const { words } = this.#arena;
    words[(this.#slot + SLOT_REDIRECT_MAP) >> 2] = map.descriptor;
    words[(this.#slot + SLOT_REDIRECT_FLAGS) >> 2] =
      F_BROADCAST | (excludeIngress ? F_EXCLUDE_INGRESS : 0);
    return 4;
  }

  wrote(): void {
    this.#arena.words[(this.#slot + SLOT_FLAGS) >> 2]! |= SLOT_WROTE;
  }
}

/** A test's filter: eBPF assembly, or a function in its place that sees and changes frames. */
export type TestFilter =
  | { readonly type: JudgingType; readonly assembly: string; readonly maps?: readonly MapSpec[] }
  | HookFilter;

export interface HookFilter {
  readonly type: JudgingType;
  readonly run: (frame: SlotFrame, maps: readonly MapHandle[]) => number;
  readonly maps?: readonly MapSpec[];
}

/** An XDP filter of a test's own. */
export function xdp(
  run: (frame: SlotFrame, maps: readonly MapHandle[]) => number,
  maps: readonly MapSpec[] = [],
): HookFilter {
  return { type: "xdp", run, maps };
}

export function xdpAssembly(assembly: string): TestFilter {
  return { type: "xdp", assembly };
}

export interface RigOptions {
  readonly plan?: Partial<ListenerPlan>;
  readonly upstreams: readonly (UpstreamPlan | Address)[];
  readonly ports?: readonly PortPlan[];
  readonly ingress?: readonly TestFilter[];
  readonly egress?: readonly TestFilter[];
  readonly accessLog?: AccessLogPlan;
  /** Packet slots the worker has. */
  readonly slots?: number;
}

/** One listener on this thread, with everything a worker would give it. */
export interface Rig {
  readonly address: Address;
  readonly counters: Counters;
  readonly faults: readonly FaultReport[];
  readonly listener: Listener;
  readonly clock: TurnClock;
  readonly captures: CaptureTap;
  /** All that the access log was told so far. */
  accessLines(): readonly AccessLine[];
  /** Frames whose counters say they went in: by verdict. */
  packets(direction: "ingress" | "egress"): Record<string, number>;
  drops(direction: "ingress" | "egress"): Record<string, number>;
}

const cleanups: (() => unknown)[] = [];

/** Run after each test: closes what it opened, the last first. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export function onCleanUp(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export function value<T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T {
  if (!result.ok) throw new Error(`unexpected: ${JSON.stringify(result.error)} ${result.error}`);
  return result.value;
}

export async function startRig(
  protocol: ListenerPlan["protocol"],
  options: RigOptions,
): Promise<Rig> {
  const arena = value(Arena.create(8 * 1024 * 1024));
  const stack = value(arena.allocate(stackBytes, "stack"));
  const isBatched = protocol !== "tcp" && udpIo === "mmsg";
  const reserved = isBatched ? batchSlots : 0;
  const slotsAt = value(arena.allocate(SLOT_BYTES * (slotCount + reserved), "slots"));
  const countersAt = value(arena.allocate(counterBytes(shape), "counters"));
  const clock = new TurnClock();
  const plan: ListenerPlan = {
    name: "test",
    protocol,
    listen: { host: "127.0.0.1", port: 0 },
    ifindex: 1000,
    upstream: 0,
    ingress: [],
    egress: [],
    idleTimeoutMs: 60_000,
    maxSessions: 1000,
    localAddress: "127.0.0.1",
    onDrop: "reset",
    onSegmentDrop: "reset",
    io: udpIo,
    ...options.plan,
  };
  const ports = options.ports ?? [];
  const network = new WorkerNetwork({ listeners: [plan], ports }, arena);
  const context: EngineContext = {
    network,
    arena,
    runtime: instantiateRuntime(runtimeModule, arena),
    cpu: 0,
    stack,
    clock,
    random: () => 4,
    trace: () => {},
  };
  const counters = new Counters(arena.memory, placesFrom(countersAt, shape));
  const faults: FaultReport[] = [];
  const reporter = new FaultReporter(
    (report) => faults.push(report),
    () => clock.nowMs(),
  );
  const broadcasts = new Broadcasts(context);
  let filters = 0;
  const chain = (list: readonly TestFilter[] = []): Chain =>
    new Chain(
      list.map((filter) => {
        const index = filters++;
        const executable = executableOf(filter, context);
        const { type } = filter;
        const parts = { name: `filter${index}`, index, type, executable, broadcasts };
        return { filter: new LoadedFilter(parts, arena, counters, reporter) };
      }),
    );
  const upstreams = options.upstreams.map((upstream, i) =>
    "addresses" in upstream ? upstream : { name: `upstream${i}`, addresses: [upstream] },
  );
  const states = new AddressStates(upstreams, counters, () => clock.nowMs());
  const made = upstreamsOf(upstreams, states, 0);
  const addresses = made.flatMap((upstream) => upstream.addresses);
  const accessLines: AccessLine[] = [];
  const accessLog = new AccessLog(
    0,
    (lines) => accessLines.push(...lines),
    () => clock.nowMs(),
  );
  accessLog.follow(options.accessLog);
  const slots = new PacketSlots(slotsAt, reserved + (options.slots ?? slotCount));
  const captures = new CaptureTap(arena, 0, () => clock.nowMs());
  const parts: ListenerParts = {
    plan,
    index: 0,
    ingress: chain(options.ingress),
    egress: chain(options.egress),
    destinations: new Destinations({ ports }, plan, made),
    peerPorts: new PeerPorts(ports),
    counters,
    arena,
    sums: context.runtime,
    captures,
    slots,
    batches: isBatched
      ? value(await BatchSockets.create(arena, slots, new DescriptorSet()))
      : undefined,
    network,
    clock,
    cpu: 0,
    accessLog,
    sessionPorts: new SessionPorts(),
    onHeard: ({ upstream, key }, up) => {
      const index = addresses.findIndex((one) => one.upstream === upstream && one.key === key);
      if (index >= 0) states.heard(index, up);
    },
    sessionLimit: SessionLimit.alone(plan.maxSessions),
    sources: undefined,
    reusePort: false,
  };
  const listener = listenerOf(protocol, parts);
  const address = value(await listener.listen());
  listener.open();
  onCleanUp(() => listener.stop(0));
  return {
    address: {
      host: address.host === "::" ? "::1" : address.host.replace("0.0.0.0", "127.0.0.1"),
      port: address.port,
    },
    counters,
    faults,
    listener,
    clock,
    captures,
    accessLines: () => {
      accessLog.flush();
      return accessLines;
    },
    packets: (direction) => readPackets(counters, direction),
    drops: (direction) => readDrops(counters, direction),
  };
}

/** What sends from a tunnel's sockets, with no listener around it. */
export async function sendingSockets(): Promise<SendingSockets> {
  if (udpIo === "dgram") return dgramSendingSockets;
  const arena = value(Arena.create(8 * 1024 * 1024));
  const slots = new PacketSlots(
    value(arena.allocate(SLOT_BYTES * batchSlots, "slots")),
    batchSlots,
  );
  return value(await BatchSockets.create(arena, slots, new DescriptorSet()));
}

function listenerOf(protocol: ListenerPlan["protocol"], parts: ListenerParts): Listener {
  if (protocol === "udp") return new UdpListener(parts);
  if (protocol === "tcp") return new TcpListener(parts);
  const { tunnel } = parts.plan;
  return new TunnelListener(parts, protocol, tunnel!, tunnel!.healthCheck && new HealthCheck());
}

function executableOf(filter: TestFilter, context: EngineContext): Executable {
  const maps = (filter.maps ?? []).map((spec) =>
    value(createMap(spec, context.arena, context.runtime, 1)),
  );
  if ("assembly" in filter) {
    const program: LinkedProgram = {
      name: "test_program",
      type: filter.type,
      instructions: value(assemble(filter.assembly)),
      maps,
    };
    return value((udpIo === "mmsg" ? jit : interpreter)(program, context));
  }
  const { words } = context.arena;
  const run = (slot: number): number => {
    words[(slot + SLOT_REDIRECT_FLAGS) >> 2] = 0;
    return filter.run(new SlotFrame(context.arena, slot), maps) >>> 0;
  };
  return {
    program: { name: "test_hook", type: filter.type, maps },
    engine: "interpreter",
    fault: undefined,
    run,
    runBatch: (first, stride, count) => {
      for (let i = 0, slot = first; i < count; i++, slot += stride) {
        words[(slot + SLOT_REDIRECT_IFINDEX) >> 2] = 0;
        words[(slot + SLOT_RETURN_LOW) >> 2] = run(slot);
      }
      return [];
    },
  };
}

function readPackets(counters: Counters, direction: "ingress" | "egress"): Record<string, number> {
  const read = verdictKinds.map(
    (kind) => [kind, counters.readPackets(0, direction, kind)] as const,
  );
  return Object.fromEntries(read.filter(([, count]) => count > 0));
}

function readDrops(counters: Counters, direction: "ingress" | "egress"): Record<string, number> {
  const read = dropReasons.map(
    (reason) => [reason, counters.readDrops(0, direction, reason)] as const,
  );
  return Object.fromEntries(read.filter(([, count]) => count > 0));
}

/** Datagrams that arrived at a socket, to be awaited one by one. */
export class Inbox {
  readonly socket: UdpSocket;
  readonly #arrived: { payload: Buffer; from: RemoteInfo }[] = [];
  readonly #waiting: ((datagram: { payload: Buffer; from: RemoteInfo }) => void)[] = [];
  /** All that ever arrived. */
  received = 0;

  constructor(socket: UdpSocket) {
    this.socket = socket;
    socket.on("message", (payload, from) => {
      this.received++;
      const next = this.#waiting.shift();
      if (next === undefined) this.#arrived.push({ payload, from });
      else next({ payload, from });
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  next(): Promise<{ payload: Buffer; from: RemoteInfo }> {
    const arrived = this.#arrived.shift();
    if (arrived !== undefined) return Promise.resolve(arrived);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async text(): Promise<string> {
    return (await this.next()).payload.toString();
  }

  send(payload: string | Uint8Array, to: Address): void {
    this.socket.send(payload, to.port, to.host);
  }
}

export async function udpSocket(host = "127.0.0.1", port = 0): Promise<Inbox> {
  const socket = createSocket({
    type: host.includes(":") ? "udp6" : "udp4",
    recvBufferSize: 4 << 20,
    sendBufferSize: 4 << 20,
  });
  socket.bind(port, host);
  await once(socket, "listening");
  onCleanUp(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return new Inbox(socket);
}

/** A UDP upstream that answers each datagram with `mark` and what it got. */
export async function udpUpstream(
  mark = "",
  host = "127.0.0.1",
  port = 0,
): Promise<Inbox & { address: Address }> {
  const inbox = await udpSocket(host, port);
  inbox.socket.on("message", (payload, from) =>
    inbox.socket.send(Buffer.concat([Buffer.from(mark), payload]), from.port, from.address),
  );
  return Object.assign(inbox, { address: { host, port: inbox.port } });
}

/** A TCP upstream; `serve` gets each connection. */
export async function tcpUpstream(
  serve: (socket: Socket) => void,
  host = "127.0.0.1",
): Promise<Address & { server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  onCleanUp(async () => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  return { host, port: (server.address() as AddressInfo).port, server };
}

/** An upstream that sends back what it gets. */
export function tcpEcho(host?: string): Promise<Address & { server: Server }> {
  return tcpUpstream((socket) => socket.pipe(socket), host);
}

/** A client's connection and what became of it. */
export class TcpClient {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #wanted: { bytes: number; resolve: () => void } | undefined;
  /** "end" (FIN) or an error code, once either has come. */
  readonly over: Promise<string>;

  constructor(to: Address, options: Partial<NetConnectOpts> = {}) {
    this.socket = connect({ host: to.host, port: to.port, allowHalfOpen: true, ...options });
    this.over = new Promise((resolve) => {
      this.socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
      this.socket.on("end", () => resolve("end"));
    });
    this.socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      if (this.#wanted !== undefined && this.#bytes >= this.#wanted.bytes) this.#wanted.resolve();
    });
    onCleanUp(() => this.socket.destroy());
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Waits until that many bytes have come in all. */
  async bytes(count: number): Promise<Buffer> {
    if (this.#bytes < count)
      await new Promise<void>((resolve) => {
        this.#wanted = { bytes: count, resolve };
      });
    return this.received;
  }

  async text(count: number): Promise<string> {
    return (await this.bytes(count)).toString();
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

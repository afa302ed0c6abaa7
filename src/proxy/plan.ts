import type { EngineKind, LinkedProgram } from "../engine/engine.ts";
import type { Route } from "../engine/network.ts";
import type { CounterPlaces } from "../filter/counters.ts";
import type { ProgramCode } from "../filter/engines.ts";
import type { MatchVerdicts, VerdictKind } from "../filter/verdict.ts";
import type { TunnelProtocol } from "../packet/tunnel-header.ts";

/**
 * What the data workers are to do: the config resolved to loaded objects, arena offsets and
 * addresses. Made by the main thread and sent to each worker with `Program`s that are code for it
 * (`compile-plan.ts`); then everything in it survives structured cloning.
 */
export interface ProxyPlan<Program = LinkedProgram> {
  readonly memory: WebAssembly.Memory;
  readonly runtime: WebAssembly.Module;
  readonly workers: readonly WorkerPlan[];
  /** Indexed by the number chains use. */
  readonly filters: readonly FilterPlan<Program>[];
  /** Value n of the filters' prog_arrays names `tailCalled[n - 1]`. Absent: they are empty. */
  readonly tailCalled?: readonly ProgramPlan<Program>[];
  readonly listeners: readonly ListenerPlan[];
  readonly upstreams: readonly UpstreamPlan[];
  /** ifindex → what it stands for. */
  readonly ports: readonly PortPlan[];
  /** What bpf_fib_lookup finds. Absent: nothing. */
  readonly routes?: readonly Route[];
  /** Absent: nothing. */
  readonly accessLog?: AccessLogPlan;
}

/**
 * A plan as one worker takes it: its programs are code that was made for that worker. No work is left
 * that grows with the length of a program, and nothing that is long is copied on the way there.
 */
export type CompiledPlan = ProxyPlan<ProgramCode>;

/** What of sessions and drops is logged. */
export interface AccessLogPlan {
  readonly sessions: "off" | "sampled" | "all";
  /** The share of sessions that `sampled` means, from 0 to 1. */
  readonly sample: number;
  readonly drops: boolean;
}

/** A worker's own pieces of the arena (offsets). Its place in the list is its CPU number. */
export interface WorkerPlan {
  readonly stack: number;
  readonly slots: number;
  readonly slotCount: number;
  /** By the plan's numbers. */
  readonly counters: CounterPlaces;
}

/** A program and what runs it. One that several plans name is one object in all of them. */
export interface ProgramPlan<Program = LinkedProgram> {
  /** As metrics label it: the filter's name, or `filter:program` where the config says so. */
  readonly name: string;
  readonly program: Program;
  readonly engine: EngineKind;
}

/** One program of a filter: what a chain item names. */
export interface FilterPlan<Program = LinkedProgram> extends ProgramPlan<Program> {
  /** Verdicts after which the chain goes on. Default: `pass`. */
  readonly continueOn?: readonly VerdictKind[];
  /** Asked without effect, unless it has been promoted. Absent: live. */
  readonly shadow?: boolean;
  /** For expressions: what a match and a miss mean. Else the program's return value is the verdict. */
  readonly match?: MatchVerdicts | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface UpstreamAddress extends Address {
  /** The host names that have it, in the config's order. Absent: the config has the address itself alone. */
  readonly names?: readonly string[];
}

export interface UpstreamPlan {
  readonly name: string;
  readonly addresses: readonly UpstreamAddress[];
  /** How sessions and connections are spread over the addresses. Default: `round_robin`. */
  readonly balance?: "round_robin" | "client_hash";
  /** When an address that fails is left out for a while. Absent: never. */
  readonly ejection?: EjectionPlan | undefined;
  /** Absent: the workers' own findings are all that is known. */
  readonly healthCheck?: HealthCheckPlan | undefined;
  /** How long a TCP connection may take to be there. Default: 10 s. */
  readonly connectTimeoutMs?: number;
}

export interface EjectionPlan {
  /** Failures in a row. */
  readonly failures: number;
  readonly timeMs: number;
}

export interface HealthCheckPlan {
  readonly type: "tcp" | "http";
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** What an HTTP check asks for. */
  readonly path: string;
  /** The Host header of an HTTP check. Absent: the address's name, else the address, and the port. */
  readonly host?: string | undefined;
  /** The PROXY protocol header that a check begins with: the proxy's own connection. Absent: none. */
  readonly proxyProtocol?: "off" | "v1" | "v2" | undefined;
  /** Undefined: the address's own. */
  readonly port: number | undefined;
  /** Results in a row that change what is thought of an address. */
  readonly healthyAfter: number;
  readonly unhealthyAfter: number;
}

export type PortPlan = UpstreamPort | PeerPort;

interface UpstreamPort {
  readonly ifindex: number;
  /** Index into `upstreams`. */
  readonly upstream: number;
}

interface PeerPort {
  readonly ifindex: number;
  /** Index into `listeners`: a tunnel. */
  readonly listener: number;
  /** Index into that tunnel's `peers`. */
  readonly peer: number;
}

export interface ListenerPlan {
  readonly name: string;
  readonly protocol: "udp" | "tcp" | TunnelProtocol;
  readonly listen: Address;
  readonly ifindex: number;
  /** Index into `upstreams`. Undefined for tunnels, which have peers. */
  readonly upstream: number | undefined;
  /** Indexes into `filters`, in order. */
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
  readonly idleTimeoutMs: number;
  readonly maxSessions: number;
  /** Of these, from one IP address. Absent: no limit of its own. */
  readonly maxSessionsPerSource?: number | undefined;
  /**
   * Where several workers count together what each address has (`source-memory.ts`). Whoever starts
   * them makes it.
   */
  readonly sources?: SharedArrayBuffer | undefined;
  /** The largest `maxSessions` that its socket had: sessions that are more than a lowered one go on. */
  readonly mostSessions?: number | undefined;
  /** The destination a filter sees where the socket is bound to a wildcard. */
  readonly localAddress: string;
  readonly onDrop: "reset" | "close" | "ignore";
  readonly onSegmentDrop: "reset" | "discard";
  /** Where a rewritten destination may lead besides upstreams and ports. Default: nowhere. */
  readonly allowDestinations?: readonly DestinationRange[];
  /** UDP: system calls a datagram, or many datagrams a system call. Absent: dgram. */
  readonly io?: DatagramIo;
  /** TCP: PROXY protocol headers, read from clients and written to upstreams. Absent: none. */
  readonly proxyProtocol?: ProxyProtocolPlan;
  /** What a tunnel is; undefined for other protocols. */
  readonly tunnel?: TunnelPlan | undefined;
}

export type DatagramIo = "dgram" | "mmsg";

export interface ProxyProtocolPlan {
  readonly accept: "off" | "optional" | "required";
  readonly send: "off" | "v1" | "v2";
  /** Who may say whose connection it is. */
  readonly trust: readonly DestinationRange[];
}

export interface TunnelPlan {
  readonly mode: "bridge" | "mirror" | "gwlb";
  /** Networks whose frames are taken; none: those of all. */
  readonly vnis: readonly number[];
  /** Who may send frames; none: anyone (never in bridge mode). */
  readonly peers: readonly PeerPlan[];
  /** Longest IP packet on the way to peers: outer headers and all. */
  readonly mtu: number;
  /** Where load balancers ask whether this one is well. */
  readonly healthCheck?: Address | undefined;
  /** Place of its first lane among those of all tunnels, in the counters. */
  readonly firstLane: number;
}

export interface PeerPlan {
  readonly name: string;
  readonly address: Address;
}

/** `CIDR[:port]` of the config. */
export interface DestinationRange {
  readonly host: string;
  readonly prefixLength: number;
  /** Absent: any port. */
  readonly port?: number;
}

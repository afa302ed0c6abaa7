import type { EngineKind, LinkedProgram } from "../engine/engine.ts";
import type { Route } from "../engine/network.ts";
import type { TailCalls } from "../filter/program-arrays.ts";
import type { MatchVerdicts, VerdictKind } from "../filter/verdict.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { ObjectSpec } from "../object/object-spec.ts";
import type {
  AccessLogPlan,
  DatagramIo,
  EjectionPlan,
  HealthCheckPlan,
  ProxyProtocolPlan,
} from "../proxy/plan.ts";
import type { EntryTable } from "./entry-table.ts";
import type { FilterSwaps } from "./filter-swaps.ts";
import type { AddressRange, AdminListen, HostPort } from "./scalars.ts";

/** A config that holds: every name in it exists, every object is read, every entry is bytes. */
export interface Config {
  /** As it was given: what messages begin with. */
  readonly file: string;
  /** What the file held. */
  readonly text: string;
  /** Objects that filters have been given in place of the file's, while the proxy runs. */
  readonly swaps: FilterSwaps;
  readonly workers: number;
  readonly memoryBytes: number;
  /** What a stop does until `drainTimeoutMs`: only what runs goes on, or everything does. */
  readonly drain: "refuse" | "forward";
  readonly drainTimeoutMs: number;
  /** Where pinned maps are kept: a path. Undefined: no map is pinned. */
  readonly stateDir: string | undefined;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  readonly accessLog: AccessLogPlan;
  /** Whether a change of one of `files` is a reload. */
  readonly watch: boolean;
  /** The config file and all that it names: objects, entry files. */
  readonly files: readonly string[];
  /** Undefined: no metrics server. */
  readonly metricsListen: HostPort | undefined;
  readonly admin: AdminConfig;
  /** Where `admin.tokenFile` is named: `file:line:column`, or a variable's name in place of the file's. */
  readonly tokenFilePlace: string | undefined;
  readonly upstreams: readonly UpstreamConfig[];
  readonly ports: readonly PortConfig[];
  readonly routes: readonly Route[];
  readonly filters: readonly FilterConfig[];
  readonly listeners: readonly ListenerConfig[];
}

export interface AdminConfig {
  /** Undefined: the user's own socket, and none where that cannot be. */
  readonly listen: AdminListen | "off" | undefined;
  /** The token file's path. */
  readonly tokenFile: string | undefined;
}

export interface UpstreamConfig {
  readonly name: string;
  /** Hosts may be names. `echo`: the built-in one. */
  readonly addresses: readonly HostPort[] | "echo";
  readonly balance: "round_robin" | "client_hash";
  readonly connectTimeoutMs: number;
  readonly ejection: EjectionPlan | undefined;
  readonly healthCheck: HealthCheckPlan | undefined;
  /** Undefined: names are not looked up again. */
  readonly resolveIntervalMs: number | undefined;
  /** `file:line:column`, for what goes wrong later. */
  readonly where: string;
}

export interface PortConfig {
  readonly ifindex: number;
  /** Its upstream's name, or `listener.peer` for a bridge's peer. */
  readonly target: string;
}

export interface ListenerConfig {
  readonly name: string;
  readonly protocol: "udp" | "tcp" | "vxlan" | "geneve";
  readonly listen: HostPort;
  /** Undefined for tunnels. */
  readonly upstream: string | undefined;
  readonly ingress: readonly ChainItem[];
  readonly egress: readonly ChainItem[];
  readonly ifindex: number;
  readonly idleTimeoutMs: number;
  readonly maxSessions: number;
  readonly maxSessionsPerSource: number | undefined;
  /** Undefined for other protocols. */
  readonly io: DatagramIo | "auto" | undefined;
  readonly localAddress: string | undefined;
  readonly allowDestinations: readonly AddressRange[];
  readonly proxyProtocol: ProxyProtocolPlan | undefined;
  readonly onDrop: "reset" | "close" | "ignore";
  readonly onSegmentDrop: "reset" | "discard";
  /** Undefined for other protocols. */
  readonly tunnel: TunnelConfig | undefined;
}

export interface TunnelConfig {
  readonly mode: "bridge" | "mirror" | "gwlb";
  /** None: all networks. */
  readonly vnis: readonly number[];
  /** None: anyone. */
  readonly peers: readonly { readonly name: string; readonly address: HostPort }[];
  readonly mtu: number;
  readonly healthCheck: HostPort | undefined;
}

/** One program of one filter. */
export interface ChainItem {
  readonly filter: string;
  readonly program: string;
}

/** A filter with its object read, its globals set and its map entries as bytes. */
export interface FilterConfig {
  readonly name: string;
  readonly where: string;
  /** Its object's file and those of map entries. */
  readonly files: readonly string[];
  readonly object: ObjectSpec;
  /**
   * The one that the filter's bare name means in a chain, then those that chains name as
   * `filter:program`. Accepted for running, and bound to maps that have no storage yet.
   */
  readonly programs: readonly [LinkedProgram, ...LinkedProgram[]];
  /** Programs that tail calls of these lead to, and how: the slots of the object's prog_arrays. */
  readonly tailCalls: TailCalls;
  /** By index into `object.maps`; none for prog_arrays, which `tailCalls` fills. */
  readonly contents: readonly EntryTable[];
  /** By index into `object.maps`: its contents are kept across restarts. */
  readonly pinned: ReadonlySet<number>;
  readonly metrics: MapMetricsSpec;
  readonly engine: EngineKind;
  readonly continueOn: readonly VerdictKind[];
  /** For expressions: what a match and a miss mean. */
  readonly match: MatchVerdicts | undefined;
  /** It is asked without effect, until it is promoted. */
  readonly shadow: boolean;
  /** What a reload does where a map's schema is another than before. */
  readonly onSchemaChange: "refuse" | "reset";
}

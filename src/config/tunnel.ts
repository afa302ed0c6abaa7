import { type TunnelProtocol, tunnelProtocols } from "../packet/tunnel-header.ts";
import type { TunnelConfig } from "./config.ts";
import type { ReadableConfig, ReadableListener } from "./readable-parts.ts";
import type { HostPort } from "./scalars.ts";
import type { ConfigValues } from "./schema.ts";

/** RFC 7348 §5, RFC 8926 §3.3. */
export const defaultPorts = { vxlan: 4789, geneve: 6081 } as const;

/** What Ethernet carries. */
const defaultMtu = 1500;
/** What AWS sends to a target: 8,500 bytes from a host, and 68 of outer headers with its options. */
const gatewayMtu = 8568;

export function isTunnel(protocol: string | undefined): protocol is TunnelProtocol {
  return tunnelProtocols.some((tunnel) => tunnel === protocol);
}

/** The `vni` key as a list without repetitions; none: all networks. */
export function networksOf(vni: number | readonly number[] | undefined): readonly number[] {
  if (vni === undefined) return [];
  return [...new Set(typeof vni === "number" ? [vni] : vni)];
}

/** The tunnel keys of a listener with their defaults; undefined for other protocols. */
export function tunnelConfig(
  listener: Pick<
    ConfigValues["listeners"][number],
    "protocol" | "mode" | "vni" | "peers" | "mtu" | "healthCheck"
  >,
): TunnelConfig | undefined {
  const { protocol, mode, vni, peers, mtu, healthCheck } = listener;
  if (!isTunnel(protocol)) return undefined;
  return {
    mode: mode ?? "bridge",
    vnis: networksOf(vni),
    peers: Object.entries(peers ?? {}).map(([name, { host, port }]) => ({
      name,
      address: { host, port: port ?? defaultPorts[protocol] },
    })),
    mtu: mtu ?? (mode === "gwlb" ? gatewayMtu : defaultMtu),
    healthCheck,
  };
}

/** Where a listener is bound, with its protocol's port if none is written; undefined if it has none. */
export function boundAddress({
  protocol,
  listen,
}: Pick<ReadableListener, "protocol" | "listen">): HostPort | undefined {
  if (listen === undefined) return undefined;
  const port = listen.port ?? (isTunnel(protocol) ? defaultPorts[protocol] : undefined);
  return port === undefined ? undefined : { host: listen.host, port };
}

/** The peers of bridges, as ports name them: `listener.peer`. */
export function bridgePeers(config: Pick<ReadableConfig, "listeners">): Set<string> {
  return new Set(
    config.listeners.flatMap(({ name, protocol, mode, peers }) =>
      isTunnel(protocol) && (mode ?? "bridge") === "bridge"
        ? Object.keys(peers ?? {}).map((peer) => `${name}.${peer}`)
        : [],
    ),
  );
}

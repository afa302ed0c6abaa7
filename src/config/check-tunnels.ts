import type { TunnelProtocol } from "../packet/tunnel-header.ts";
import { addressFamily, isWildcard } from "../proxy/local-address.ts";
import type { KeyPath } from "./config-problem.ts";
import type { ProblemList } from "./problem-list.ts";
import type { ReadableConfig, ReadableListener } from "./readable-parts.ts";
import { defaultPorts, isTunnel } from "./tunnel.ts";

/** Most peers of one tunnel: metrics have a series for each. */
const maxPeers = 64;

/** Keys that exclude each other on tunnels, and what a mode needs. */
export function checkTunnels({ listeners }: ReadableConfig, problems: ProblemList): void {
  for (const [i, listener] of listeners.entries()) {
    const path = ["listeners", i];
    if (!isTunnel(listener.protocol)) continue;
    checkMode(listener, path, problems);
    checkPeers(listener, listener.protocol, path, problems);
  }
}

function checkMode(listener: ReadableListener, path: KeyPath, problems: ProblemList): void {
  const { protocol, healthCheck, mtu } = listener;
  const mode = listener.mode ?? "bridge";
  if (mode === "gwlb" && protocol !== "geneve")
    problems.value(
      "CONFIG_CONFLICT",
      [...path, "mode"],
      "a gateway load balancer speaks GENEVE",
      "write protocol: geneve",
    );
  if (mode !== "gwlb" && healthCheck !== undefined)
    problems.key(
      "CONFIG_CONFLICT",
      [...path, "healthCheck"],
      `has no effect in mode ${mode}`,
      "remove it",
    );
  if (mode === "mirror" && mtu !== undefined)
    problems.key(
      "CONFIG_CONFLICT",
      [...path, "mtu"],
      "has no effect in mode mirror, which sends nothing",
      "remove it",
    );
  if (listener.allowDestinations !== undefined && listener.allowDestinations.length > 0)
    problems.key(
      "CONFIG_CONFLICT",
      [...path, "allowDestinations"],
      `has no effect on a ${protocol} listener, whose frames go to peers whatever they say`,
      "remove it",
    );
}

function checkPeers(
  listener: ReadableListener,
  protocol: TunnelProtocol,
  path: KeyPath,
  problems: ProblemList,
): void {
  const { peers, listen } = listener;
  const peersPath = [...path, "peers"];
  const named = Object.entries(peers ?? {});
  if ((listener.mode ?? "bridge") === "bridge" && named.length < 2) {
    const what = `a bridge has at least two peers, found ${named.length}`;
    const fix = 'write peers: { left: "192.0.2.1", right: "192.0.2.2" }';
    if (!problems.source.has(peersPath)) problems.value("CONFIG_VALUE", path, what, fix);
    // Peers that cannot be read have been told of.
    else if (peers !== undefined) problems.value("CONFIG_VALUE", peersPath, what, fix);
  }
  if (peers !== undefined && named.length === 0 && listener.mode !== "bridge")
    problems.value(
      "CONFIG_VALUE",
      peersPath,
      "an empty list of peers would let nobody in, or everybody",
      "name a peer, or leave peers out to take frames from anyone",
    );
  if (named.length > maxPeers)
    problems.value("CONFIG_VALUE", peersPath, `at most ${maxPeers} peers, found ${named.length}`);
  const seen = new Map<string, string>();
  for (const [name, { host, port }] of named) {
    const key = `${host} ${port ?? defaultPorts[protocol]}`;
    const first = seen.get(key);
    if (first !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        [...peersPath, name],
        `the same address as ${first}`,
        "remove one of them",
      );
    else seen.set(key, name);
    if (
      listen !== undefined &&
      addressFamily(listen.host) !== addressFamily(host) &&
      !(addressFamily(listen.host) === 6 && isWildcard(listen.host))
    )
      problems.value(
        "CONFIG_CONFLICT",
        [...peersPath, name],
        `${host} is not of the address family of ${listen.host}, which the tunnel listens on`,
        "listen on an address of its family, or on [::]",
      );
  }
}

import { suggestion } from "../common/closest.ts";
import { tunnelProtocols } from "../packet/tunnel-header.ts";
import type { ProblemList } from "./problem-list.ts";
import type { YamlSource } from "./read-yaml.ts";
import type { ReadableConfig } from "./readable-parts.ts";
import { upstreamSchema } from "./schema.ts";
import { bridgePeers, isTunnel } from "./tunnel.ts";

/** A chain item in its parts: `filter`, or `filter:program`. */
export function splitChainItem(item: string): { filter: string; program: string | undefined } {
  const colon = item.indexOf(":");
  return colon < 0
    ? { filter: item, program: undefined }
    : { filter: item.slice(0, colon), program: item.slice(colon + 1) };
}

/** Names that must exist, names and numbers that must differ, keys that exclude each other. */
export function checkReferences(config: ReadableConfig, problems: ProblemList): void {
  checkUpstreams(config, problems);
  checkPorts(config, problems);
  checkListeners(config, problems);
  checkHealthChecks(config, problems);
}

/**
 * A server that wants a PROXY header of every connection takes a check without one for malformed, and
 * would be down for ever. Its port for checks may be another, which nobody knows anything of.
 */
function checkHealthChecks({ listeners, upstreams }: ReadableConfig, problems: ProblemList): void {
  for (const [name, { healthCheck }] of upstreams) {
    if (healthCheck === undefined || healthCheck.port !== undefined) continue;
    if (healthCheck.proxyProtocol !== undefined) continue;
    const sending = listeners.findIndex(
      ({ upstream, proxyProtocol }) =>
        upstream === name && proxyProtocol !== undefined && proxyProtocol.send !== "off",
    );
    if (sending < 0) continue;
    const { send } = listeners[sending]!.proxyProtocol!;
    problems.key(
      "CONFIG_CONFLICT",
      ["upstreams", name, "healthCheck"],
      `the listener at ${problems.line(["listeners", sending])} sends PROXY headers there, and checks would not`,
      `add proxyProtocol: ${send}, or off where the server takes connections without a header`,
    );
  }
}

function checkUpstreams({ upstreams }: ReadableConfig, problems: ProblemList): void {
  for (const [name, { addresses, echo, healthCheck }] of upstreams) {
    const path = ["upstreams", name] as const;
    if (addresses !== undefined && echo !== undefined)
      problems.key(
        "CONFIG_CONFLICT",
        [...path, "echo"],
        "an upstream has addresses or is the echo, not both",
        "remove one of the two",
      );
    // A block with unknown keys has been told of those: one of them may be a misspelt one of these.
    else if (hasOnlyOptions(problems.source, path))
      problems.key(
        "CONFIG_VALUE",
        path,
        "neither addresses nor echo",
        `add addresses: ["127.0.0.1:5353"], or echo: true for the built-in echo`,
      );
    if (healthCheck?.type === "tcp" && healthCheck.path !== "/")
      problems.value(
        "CONFIG_CONFLICT",
        [...path, "healthCheck", "path"],
        "has no effect on a check of type tcp",
        "remove it, or write type: http",
      );
    if (healthCheck?.type === "tcp" && healthCheck.host !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        [...path, "healthCheck", "host"],
        "has no effect on a check of type tcp",
        "remove it, or write type: http",
      );
    const seen = new Map<string, number>();
    for (const [i, { host, port }] of (addresses ?? []).entries()) {
      const first = seen.get(`${host} ${port}`);
      if (first !== undefined)
        problems.value(
          "CONFIG_CONFLICT",
          [...path, "addresses", i],
          "the same address twice",
          "remove one of them",
        );
      seen.set(`${host} ${port}`, i);
    }
  }
}

function checkPorts(config: ReadableConfig, problems: ProblemList): void {
  const { ports, upstreams, listeners } = config;
  const peers = bridgePeers(config);
  for (const [ifindex, target] of ports) {
    if (upstreams.has(target) || peers.has(target)) continue;
    const dot = target.indexOf(".");
    const tunnel = listeners.find(({ name }) => dot > 0 && name === target.slice(0, dot));
    // Peers that cannot be read have been told of.
    if (isTunnel(tunnel?.protocol) && tunnel?.peers === undefined) continue;
    problems.value(
      "CONFIG_REFERENCE",
      ["ports", ifindex],
      `no ${dot < 0 ? "upstream" : "bridge's peer"} ${JSON.stringify(target)}`,
      dot < 0
        ? suggestion(target, [...upstreams.keys()], "add it under upstreams")
        : suggestion(target, [...peers], "name a peer of a bridge as listener.peer"),
    );
  }
}

/** Whether an upstream is a block whose keys are all known, and none of which says where it is. */
function hasOnlyOptions(source: YamlSource, path: readonly [string, string]): boolean {
  if (source.isEmptyBlock(path)) return true;
  const [top, name] = path;
  const upstreams = (source.value as Readonly<Record<string, unknown>>)[top];
  const block = (upstreams as Readonly<Record<string, unknown>>)[name];
  if (typeof block !== "object" || block === null || Array.isArray(block)) return false;
  const keys = Object.keys(block);
  const known = Object.keys(upstreamSchema.shape);
  return (
    keys.every((key) => known.includes(key)) &&
    !keys.some((key) => key === "addresses" || key === "echo")
  );
}

function checkListeners(config: ReadableConfig, problems: ProblemList): void {
  const names = new Map<string, number>();
  const numbers = new Map<number, number>();
  for (const [i, listener] of config.listeners.entries()) {
    const { name, ifindex, upstream } = listener;
    if (name !== undefined) {
      const first = names.get(name);
      if (first === undefined) names.set(name, i);
      else
        problems.value(
          "CONFIG_CONFLICT",
          ["listeners", i, "name"],
          `${JSON.stringify(name)} is the name of the listener at ${problems.line(["listeners", first, "name"])} too`,
          "give each listener a name of its own",
        );
    }
    if (ifindex !== undefined) {
      const first = numbers.get(ifindex);
      const path = ["listeners", i, "ifindex"];
      if (config.ports.has(String(ifindex)))
        problems.value(
          "CONFIG_CONFLICT",
          path,
          `${ifindex} is the number of a port (${problems.line(["ports", String(ifindex)])})`,
          "ports and listeners share one space of numbers: choose another",
        );
      if (first === undefined) numbers.set(ifindex, i);
      else
        problems.value(
          "CONFIG_CONFLICT",
          path,
          `${ifindex} is the number of the listener at ${problems.line(["listeners", first, "ifindex"])} too`,
          "choose another",
        );
    }
    if (!isTunnel(listener.protocol) && !problems.source.has(["listeners", i, "upstream"]))
      problems.value(
        "CONFIG_VALUE",
        ["listeners", i],
        "upstream is missing",
        "add upstream: app (The upstream that packets and connections go to)",
      );
    if (upstream !== undefined && !isTunnel(listener.protocol) && !config.upstreams.has(upstream))
      problems.value(
        "CONFIG_REFERENCE",
        ["listeners", i, "upstream"],
        `no upstream ${JSON.stringify(upstream)}`,
        suggestion(upstream, [...config.upstreams.keys()], "add it under upstreams"),
      );
    for (const direction of ["ingress", "egress"] as const)
      for (const [k, item] of listener[direction].entries()) {
        if (item === undefined) continue;
        const { filter } = splitChainItem(item);
        if (!config.filters.has(filter))
          problems.value(
            "CONFIG_REFERENCE",
            ["listeners", i, direction, k],
            `no filter ${JSON.stringify(filter)}`,
            suggestion(filter, [...config.filters.keys()], "add it under filters"),
          );
      }
    checkProtocolKeys(listener, i, problems);
  }
}

/** A key that does nothing on this protocol would be a lie. */
function checkProtocolKeys(
  listener: ReadableConfig["listeners"][number],
  i: number,
  problems: ProblemList,
): void {
  const only = (
    key:
      | "onDrop"
      | "onSegmentDrop"
      | "localAddress"
      | "io"
      | "proxyProtocol"
      | "upstream"
      | "mode"
      | "vni"
      | "peers"
      | "mtu"
      | "healthCheck",
    ...protocols: NonNullable<typeof listener.protocol>[]
  ): void => {
    if (
      listener[key] !== undefined &&
      listener.protocol !== undefined &&
      !protocols.includes(listener.protocol)
    )
      problems.key(
        "CONFIG_CONFLICT",
        ["listeners", i, key],
        `has no effect on a ${listener.protocol} listener`,
        "remove it",
      );
  };
  only("onDrop", "tcp");
  only("onSegmentDrop", "tcp");
  only("localAddress", "udp");
  only("io", "udp", ...tunnelProtocols);
  only("upstream", "udp", "tcp");
  for (const key of ["mode", "vni", "peers", "mtu", "healthCheck"] as const)
    only(key, ...tunnelProtocols);
  only("proxyProtocol", "tcp");
  const { accept, trust } = listener.proxyProtocol ?? {};
  if (accept !== undefined && accept !== "off" && trust?.length === 0)
    problems.value(
      "CONFIG_CONFLICT",
      ["listeners", i, "proxyProtocol", "accept"],
      "headers are accepted, and nobody is trusted to send them",
      "list the proxies' addresses under trust",
    );
}

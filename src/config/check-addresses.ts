import { availableParallelism, platform } from "node:os";
import { parseAddress } from "../packet/address.ts";
import { formatEndpoint } from "../proxy/endpoint.ts";
import { addressFamily, isWildcard } from "../proxy/local-address.ts";
import type { KeyPath } from "./config-problem.ts";
import type { ProblemList } from "./problem-list.ts";
import type { ReadableConfig } from "./readable-parts.ts";
import type { HostPort } from "./scalars.ts";
import { boundAddress, defaultPorts, isTunnel } from "./tunnel.ts";

/** Systems whose sockets share a port among threads. Node's documentation, dgram `reusePort`. */
const reusePortPlatforms: readonly string[] = ["linux", "freebsd", "aix", "sunos"];

/** Threads that `workers` means on this machine. */
export function workerCount(workers: number | "auto", system: string = platform()): number {
  if (workers !== "auto") return workers;
  return reusePortPlatforms.includes(system) ? availableParallelism() : 1;
}

/** Sockets that cannot be bound beside each other, and addresses that lead nowhere good. */
export function checkAddresses(config: ReadableConfig, problems: ProblemList): void {
  checkPorts(config, problems);
  checkBinds(config, problems);
  checkWorkers(config, problems);
  checkLocalAddresses(config, problems);
  checkLoops(config, problems);
}

function checkPorts({ listeners }: ReadableConfig, problems: ProblemList): void {
  for (const [i, listener] of listeners.entries()) {
    const { protocol, listen } = listener;
    if (protocol === undefined || listen === undefined || boundAddress(listener)) continue;
    problems.value(
      "CONFIG_VALUE",
      ["listeners", i, "listen"],
      `${listen.host} has no port, and ${protocol} has none of its own`,
      `write one: "${formatEndpoint(listen.host, 5300)}"`,
    );
  }
}

interface Bind extends HostPort {
  readonly protocol: "udp" | "tcp";
  readonly path: KeyPath;
}

function checkBinds({ listeners, top }: ReadableConfig, problems: ProblemList): void {
  const binds: Bind[] = [];
  if (top.metrics !== undefined && top.metrics.listen !== "off")
    binds.push({ ...top.metrics.listen, protocol: "tcp", path: ["metrics", "listen"] });
  const add = (bind: Bind): void => {
    const other = binds.find((one) => one.protocol === bind.protocol && overlaps(one, bind));
    if (other !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        bind.path,
        `${bind.protocol} ${formatEndpoint(bind.host, bind.port)} is taken by ${takenBy(other, problems)}`,
        "choose another port or address",
      );
    binds.push(bind);
  };
  for (const [i, listener] of listeners.entries()) {
    const { protocol, healthCheck } = listener;
    const listen = boundAddress(listener);
    if (protocol === undefined) continue;
    const socket = protocol === "tcp" ? "tcp" : "udp";
    if (listen !== undefined)
      add({ ...listen, protocol: socket, path: ["listeners", i, "listen"] });
    if (healthCheck !== undefined)
      add({ ...healthCheck, protocol: "tcp", path: ["listeners", i, "healthCheck"] });
  }
}

function takenBy(bind: Bind, problems: ProblemList): string {
  const where =
    bind.path[0] === "metrics" ? "metrics.listen" : `the listener at ${problems.line(bind.path)}`;
  return `${where} (${formatEndpoint(bind.host, bind.port)})`;
}

/** One would fail with EADDRINUSE after the other. `[::]` takes IPv4 as well. */
export function overlaps(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  if (sameAddress(a.host, b.host)) return true;
  return covers(a.host, b.host) || covers(b.host, a.host);
}

/** A socket bound to `bound` gets what is sent to `address`. */
function covers(bound: string, address: string): boolean {
  return (
    sameAddress(bound, address) ||
    (isWildcard(bound) && (addressFamily(bound) === 6 || addressFamily(address) === 4))
  );
}

function sameAddress(a: string, b: string): boolean {
  const [first, second] = [parseAddress(a), parseAddress(b)];
  return (
    first !== undefined &&
    second !== undefined &&
    first.length === second.length &&
    first.every((byte, i) => byte === second[i])
  );
}

function checkWorkers({ top }: ReadableConfig, problems: ProblemList): void {
  if (workerCount(top.workers ?? 1) > 1 && !reusePortPlatforms.includes(platform()))
    problems.value(
      "CONFIG_CONFLICT",
      ["workers"],
      `several workers share a port, which ${platform()} does not offer`,
      "write 1 or auto",
    );
}

function checkLocalAddresses({ listeners }: ReadableConfig, problems: ProblemList): void {
  for (const [i, { listen, localAddress, protocol }] of listeners.entries()) {
    if (localAddress === undefined || listen === undefined || protocol !== "udp") continue;
    const path = ["listeners", i, "localAddress"];
    if (!isWildcard(listen.host))
      problems.key(
        "CONFIG_CONFLICT",
        path,
        `has no effect: the listener is bound to ${listen.host}, which filters see`,
        "remove it",
      );
    else if (isWildcard(localAddress))
      problems.value(
        "CONFIG_VALUE",
        path,
        `${localAddress} is no address a packet can have been sent to`,
        "write one of this machine's addresses",
      );
    else if (
      addressFamily(localAddress) !== addressFamily(listen.host) &&
      addressFamily(listen.host) === 4
    )
      problems.value(
        "CONFIG_CONFLICT",
        path,
        `${localAddress} is IPv6, and ${listen.host} takes IPv4 packets only`,
        "write an IPv4 address, or listen on [::]",
      );
  }
}

/** A listener whose upstream or peer is the listener: every packet would go round for ever. */
function checkLoops({ listeners, upstreams }: ReadableConfig, problems: ProblemList): void {
  for (const [i, listener] of listeners.entries()) {
    const { protocol, peers } = listener;
    const listen = boundAddress(listener);
    if (listen === undefined || !isTunnel(protocol)) continue;
    for (const [name, { host, port }] of Object.entries(peers ?? {}))
      if ((port ?? defaultPorts[protocol]) === listen.port && leadsTo(listen.host, host))
        problems.value(
          "CONFIG_CONFLICT",
          ["listeners", i, "peers", name],
          `${formatEndpoint(host, listen.port)} is this tunnel itself`,
          "write the address of the other end",
        );
  }
  for (const [i, listener] of listeners.entries()) {
    const { upstream } = listener;
    const listen = boundAddress(listener);
    if (listen === undefined || upstream === undefined || listen.port === 0) continue;
    const itself = upstreams
      .get(upstream)
      ?.addresses?.find(({ host, port }) => port === listen.port && leadsTo(listen.host, host));
    if (itself !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        ["listeners", i, "upstream"],
        `${formatEndpoint(itself.host, itself.port)} of upstream ${JSON.stringify(upstream)} is this listener itself`,
        "give the upstream or the listener another port",
      );
  }
}

/** What is sent to `host` comes to a socket bound to `bound`, as far as a config can tell. */
function leadsTo(bound: string, host: string): boolean {
  return (
    sameAddress(host, bound) ||
    // On a wildcard only loopback is known to be this machine.
    (covers(bound, host) && (host === "::1" || host.startsWith("127.")))
  );
}

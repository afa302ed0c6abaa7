import { Resolver } from "node:dns/promises";
import { isIP, isIPv4 } from "node:net";
import { hostname } from "node:os";
import { readBounded } from "./read-file.ts";

/** Each server is asked so often, as resolv.conf(5) has it by default. */
const tries = 2;
/** Larger tables are no resolver's: they are left unread. */
const maxTableBytes = 1_048_576;
/** Domains that are searched: as many as Kubernetes allows a pod. */
const maxDomains = 32;
/** resolv.conf(5): larger values mean this one. */
const maxNdots = 15;
/** RFC 1035 section 2.3.4, as text without the last dot. */
const maxNameLength = 253;

/** Answers after which resolv.conf's next domain is tried. Others say that no server can be asked. */
const nextDomain: ReadonlySet<string | undefined> = new Set(["ENOTFOUND", "ENODATA", "ESERVFAIL"]);

/** What a machine knows of names by itself, and whom it asks. */
export interface NameSystem {
  /** The text of /etc/hosts. */
  readonly hosts: string;
  /** The text of /etc/resolv.conf. Its `nameserver` lines are `servers`' to read. */
  readonly resolvConf: string;
  /** What the machine is called: after its first dot comes the domain where resolv.conf has none. */
  readonly machine: string;
  readonly servers: Pick<Resolver, "resolve4" | "resolve6">;
}

/**
 * The addresses of a host name by the hosts file, else by DNS. IPv6 addresses count where there are no
 * IPv4 ones: most services bind those, and a datagram to a family that nobody listens on is lost in
 * silence. Rejects with the cause as `code` where there are none.
 *
 * In place of getaddrinfo(3), which holds a thread for as long as name servers are silent: no process
 * ends before that thread does. Both files are read anew each time, as they may change.
 */
export async function lookUpName(
  host: string,
  system: NameSystem = systemOfMachine(),
): Promise<readonly string[]> {
  const known = hostsOf(host, system.hosts);
  if (known.length > 0) return firstFamily(known);
  // RFC 6761 section 6.3: such names are never asked for.
  if (/^(.*\.)?localhost$/i.test(host)) return ["127.0.0.1"];
  let last: unknown;
  for (const name of fullNames(host, system)) {
    try {
      return await askFor(name, system.servers);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!nextDomain.has(code)) throw error;
      // What says most: the name is there, or nobody knows, rather than that another is not there.
      if (last === undefined || code !== "ENOTFOUND") last = error;
    }
  }
  throw last;
}

/** As /etc files of this machine say now. */
function systemOfMachine(): NameSystem {
  return {
    hosts: tableOf("/etc/hosts"),
    resolvConf: tableOf("/etc/resolv.conf"),
    machine: hostname(),
    servers: new Resolver({ tries }),
  };
}

/** The text of a table; none where there is none. */
function tableOf(file: string): string {
  const bytes = readBounded(file, maxTableBytes);
  return bytes.ok ? Buffer.from(bytes.value).toString("latin1") : "";
}

/** An IPv4 answer, or an IPv6 one where the name is there and has none. */
async function askFor(name: string, servers: NameSystem["servers"]): Promise<readonly string[]> {
  try {
    return await servers.resolve4(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENODATA") throw error;
    return servers.resolve6(name);
  }
}

/** Addresses of a name in a hosts file, hosts(5). */
function hostsOf(host: string, hosts: string): string[] {
  const wanted = host.toLowerCase();
  return hosts.split("\n").flatMap((line) => {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    const isIts = names.some((name) => name.toLowerCase() === wanted);
    return isIts && address !== undefined && isIP(address) !== 0 ? [address] : [];
  });
}

function firstFamily(addresses: readonly string[]): readonly string[] {
  const ipv4 = addresses.filter(isIPv4);
  return ipv4.length > 0 ? ipv4 : addresses;
}

/**
 * The names that a host name may stand for, in the order in which they are tried: resolv.conf(5),
 * `search` and `ndots`. In Kubernetes a service's short name is one only by these.
 */
function fullNames(host: string, { resolvConf, machine }: NameSystem): string[] {
  let ndots = 1;
  let domains = [machine.split(".").slice(1).join(".")];
  for (const line of resolvConf.split("\n")) {
    const [key, ...values] = line.trim().split(/\s+/);
    // The last of these lines holds.
    if (key === "search") domains = values;
    if (key === "domain") domains = values.slice(0, 1);
    if (key !== "options") continue;
    for (const option of values) {
      const [, dots] = /^ndots:(\d+)$/.exec(option) ?? [];
      if (dots !== undefined) ndots = Math.min(Number(dots), maxNdots);
    }
  }
  const searched = domains
    .slice(0, maxDomains)
    .map((domain) => domain.replace(/^\.|\.$/g, ""))
    .filter((domain) => domain !== "")
    .map((domain) => `${host}.${domain}`)
    .filter((name) => name.length <= maxNameLength);
  const isFull = host.split(".").length - 1 >= ndots;
  return isFull ? [host, ...searched] : [...searched, host];
}

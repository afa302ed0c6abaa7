import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Address, UpstreamAddress, UpstreamPlan } from "../proxy/plan.ts";
import type { Config, UpstreamConfig } from "./config.ts";
import type { HostPort } from "./scalars.ts";

/** IP addresses of a host name; rejects where there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Addresses that are used of one name, the first in the order of their text. */
const maxAddresses = 64;

/**
 * As the system resolves names (hosts file, DNS). IPv6 addresses count where there are no IPv4 ones:
 * most services bind those, and a datagram to a family that nobody listens on is lost in silence.
 */
async function resolveBySystem(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: "ipv4first" });
  return found.filter(({ family }) => family === found[0]?.family).map(({ address }) => address);
}

/** A name's addresses, each once, in an order that does not depend on the answer's. */
async function addressesOf(host: string, resolve: Resolve): Promise<readonly string[]> {
  return [...new Set(await resolve(host))].sort().slice(0, maxAddresses);
}

/**
 * The upstreams with addresses in place of host names, and `echo` in place of the built-in one. A
 * name that resolves to nothing is an error: to start without it would drop every packet for it.
 */
export async function resolveUpstreams(
  config: Config,
  echo: Address | undefined,
  resolve: Resolve = resolveBySystem,
): Promise<Result<UpstreamPlan[], UserError[]>> {
  const errors: UserError[] = [];
  const upstreams: UpstreamPlan[] = [];
  for (const upstream of config.upstreams) {
    if (upstream.addresses === "echo") {
      if (echo === undefined) throw new Error("the config has an echo upstream, and none runs");
      upstreams.push(upstreamPlan(upstream, [echo]));
      continue;
    }
    const found = await resolveAll(upstream.addresses, resolve);
    for (const { host, code } of found.failed)
      errors.push(
        new UserError(
          "UPSTREAM_NO_ADDRESS",
          upstream.where,
          `upstream ${upstream.name}: the host name ${host} has no address (${code})`,
          "check the name, or write an IP address",
        ),
      );
    upstreams.push(upstreamPlan(upstream, found.addresses));
  }
  return errors.length > 0 ? err(errors) : ok(upstreams);
}

/** What looking an upstream's names up again gave. */
export type Resolved =
  | { readonly ok: true; readonly addresses: readonly UpstreamAddress[] }
  | { readonly ok: false; readonly host: string; readonly code: string };

/** Looks an upstream's names up again. One that fails is enough to leave all as it was. */
export async function resolveAgain(
  written: readonly HostPort[],
  resolve: Resolve = resolveBySystem,
): Promise<Resolved> {
  const { addresses, failed } = await resolveAll(written, resolve);
  return failed[0] === undefined ? { ok: true, addresses } : { ok: false, ...failed[0] };
}

/** Whether an upstream has names whose addresses may change. */
export function hasNames({ addresses }: Pick<UpstreamConfig, "addresses">): boolean {
  return addresses !== "echo" && addresses.some(({ host }) => isIP(host) === 0);
}

async function resolveAll(
  written: readonly HostPort[],
  resolve: Resolve,
): Promise<{ addresses: UpstreamAddress[]; failed: { host: string; code: string }[] }> {
  const addresses = new Map<string, UpstreamAddress>();
  const failed: { host: string; code: string }[] = [];
  for (const { host, port } of written) {
    let hosts: readonly string[] = [host];
    const named = isIP(host) === 0;
    if (named)
      try {
        hosts = await addressesOf(host, resolve);
        if (hosts.length === 0) failed.push({ host, code: "ENODATA" });
      } catch (error) {
        hosts = [];
        failed.push({ host, code: (error as NodeJS.ErrnoException).code ?? String(error) });
      }
    // A name may have an address that is written too.
    for (const one of hosts) {
      const address = { host: one, port };
      addresses.set(`${one} ${port}`, named ? { ...address, name: host } : address);
    }
  }
  return { addresses: [...addresses.values()], failed };
}

function upstreamPlan(
  { name, balance, ejection, healthCheck, connectTimeoutMs }: UpstreamConfig,
  addresses: readonly UpstreamAddress[],
): UpstreamPlan {
  return { name, addresses, balance, ejection, healthCheck, connectTimeoutMs };
}

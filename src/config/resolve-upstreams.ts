import { isIP } from "node:net";
import type { Address, UpstreamAddress, UpstreamPlan } from "../proxy/plan.ts";
import type { Config, UpstreamConfig } from "./config.ts";
import type { HostPort } from "./scalars.ts";
import { lookUpName } from "./system-names.ts";

/** IP addresses of a host name; rejects where there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Addresses that are used of one name, the first in the order of their text. */
const maxAddresses = 64;
/** A proxy that starts, or reads its config again, waits for a name server no longer than this. */
const answerTimeoutMs = 3_000;

/** A name's addresses, each once, in an order that does not depend on the answer's. */
async function addressesOf(host: string, resolve: Resolve): Promise<readonly string[]> {
  return [...new Set(await resolve(host))].sort().slice(0, maxAddresses);
}

/** A name that could not be looked up. */
export interface FailedName {
  readonly host: string;
  readonly port: number;
  /** As the system calls the cause: `ENOTFOUND`. */
  readonly code: string;
  /** The addresses that it had before go on. */
  readonly keeps: boolean;
}

/** One of an upstream, which goes on without what the name would have given. */
export interface UnresolvedName extends FailedName {
  readonly upstream: string;
}

/**
 * The upstreams with addresses in place of host names, and `echo` in place of the built-in one. A
 * name that cannot be looked up keeps the addresses that it has in `before`, those in force. Where it
 * has none the upstream does without: a sidecar may well start before any name server answers.
 */
export async function resolveUpstreams(
  { upstreams }: Pick<Config, "upstreams">,
  echo: Address | undefined,
  before: readonly UpstreamPlan[] = [],
  resolve: Resolve = lookUpName,
): Promise<{ upstreams: UpstreamPlan[]; unresolved: UnresolvedName[] }> {
  const found = await Promise.all(
    upstreams.map(async (upstream) => {
      const { name, addresses } = upstream;
      if (addresses === "echo") {
        if (echo === undefined) throw new Error("the config has an echo upstream, and none runs");
        return { plan: upstreamPlan(upstream, [echo]), unresolved: [] };
      }
      const had = before.find((one) => one.name === name)?.addresses ?? [];
      const resolved = await resolveNames(addresses, had, inTime(resolve));
      const unresolved = resolved.failed.map((failed) => ({ ...failed, upstream: name }));
      return { plan: upstreamPlan(upstream, resolved.addresses), unresolved };
    }),
  );
  return {
    upstreams: found.map(({ plan }) => plan),
    unresolved: found.flatMap(({ unresolved }) => unresolved),
  };
}

/** What becomes of a name without an answer, for a log whose fields have the rest. */
export function failedNameText(keeps: boolean): string {
  return `name not found: ${keeps ? "it keeps its addresses" : "left out until it has an address"}`;
}

/** The same in one line, for who reads an answer. */
export function unresolvedText({ upstream, host, code, keeps }: UnresolvedName): string {
  return `upstream ${upstream}: the host name ${host} has no address (${code}); ${keeps ? "it keeps those that it had" : "it is left out until it has one"}`;
}

/** Gives up a lookup that takes too long: the system's own patience may be half a minute. */
function inTime(resolve: Resolve): Resolve {
  return async (host) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(Object.assign(new Error("no answer"), { code: "ETIMEOUT" })),
        answerTimeoutMs,
      );
    });
    try {
      return await Promise.race([resolve(host), late]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** Whether an upstream has names whose addresses may change. */
export function hasNames({ addresses }: Pick<UpstreamConfig, "addresses">): boolean {
  return addresses !== "echo" && addresses.some(({ host }) => isIP(host) === 0);
}

/** What an upstream's written addresses are, names looked up. */
export interface ResolvedNames {
  readonly addresses: readonly UpstreamAddress[];
  /** Names that could not be looked up. */
  readonly failed: readonly FailedName[];
}

/** Looks an upstream's names up. One that fails keeps the addresses that `before` has of it. */
export async function resolveNames(
  written: readonly HostPort[],
  before: readonly UpstreamAddress[],
  resolve: Resolve = lookUpName,
): Promise<ResolvedNames> {
  const looked = await Promise.all(
    written.map(async ({ host, port }) => {
      if (isIP(host) !== 0)
        return { addresses: [{ host, port }] satisfies UpstreamAddress[], failed: undefined };
      const found = await lookUp(host, resolve);
      if (found.code === undefined) {
        const addresses = found.hosts.map((one) => ({ host: one, port, names: [host] }));
        return { addresses, failed: undefined };
      }
      const addresses = before
        .filter((one) => one.port === port && one.names?.includes(host))
        .map((one) => ({ host: one.host, port, names: [host] }));
      const keeps = addresses.length > 0;
      return { addresses, failed: { host, port, code: found.code, keeps } };
    }),
  );
  return {
    addresses: eachOnce(looked.flatMap((one) => one.addresses)),
    failed: looked.flatMap((one) => one.failed ?? []),
  };
}

/** A name may have an address that is written too, or another name's: then it is of all of them. */
function eachOnce(found: readonly UpstreamAddress[]): UpstreamAddress[] {
  const addresses = new Map<string, UpstreamAddress>();
  for (const address of found) {
    const key = `${address.host} ${address.port}`;
    const names = [...(addresses.get(key)?.names ?? []), ...(address.names ?? [])];
    const { host, port } = address;
    addresses.set(key, names.length === 0 ? { host, port } : { host, port, names });
  }
  return [...addresses.values()];
}

async function lookUp(
  host: string,
  resolve: Resolve,
): Promise<{ hosts: readonly string[]; code: string | undefined }> {
  try {
    const hosts = await addressesOf(host, resolve);
    return { hosts, code: hosts.length === 0 ? "ENODATA" : undefined };
  } catch (error) {
    return { hosts: [], code: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
}

function upstreamPlan(
  { name, balance, ejection, healthCheck, connectTimeoutMs }: UpstreamConfig,
  addresses: readonly UpstreamAddress[],
): UpstreamPlan {
  return { name, addresses, balance, ejection, healthCheck, connectTimeoutMs };
}

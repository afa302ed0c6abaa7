import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Address, UpstreamPlan } from "../proxy/plan.ts";
import type { Config } from "./config.ts";

/** IP addresses of a host name; rejects where there are none. */
export type Resolve = (host: string) => Promise<string>;

/** As the system resolves names (hosts file, DNS); IPv4 before IPv6, as most services bind. */
async function resolveBySystem(host: string): Promise<string> {
  return (await lookup(host, { order: "ipv4first" })).address;
}

/**
 * The upstreams with addresses in place of host names, each looked up once, and `echo` in place of
 * the built-in one. A name that resolves to nothing is an error: to start without it would drop
 * every packet for it.
 */
export async function resolveUpstreams(
  config: Config,
  echo: Address | undefined,
  resolve: Resolve = resolveBySystem,
): Promise<Result<UpstreamPlan[], UserError[]>> {
  const errors: UserError[] = [];
  const upstreams: UpstreamPlan[] = [];
  for (const { name, addresses, where } of config.upstreams) {
    if (addresses === "echo") {
      if (echo === undefined) throw new Error("the config has an echo upstream, and none runs");
      upstreams.push({ name, addresses: [echo] });
      continue;
    }
    const found: Address[] = [];
    for (const { host, port } of addresses) {
      if (isIP(host) !== 0) found.push({ host, port });
      else {
        try {
          found.push({ host: await resolve(host), port });
        } catch (error) {
          const code = (error as NodeJS.ErrnoException).code ?? String(error);
          errors.push(
            new UserError(
              "UPSTREAM_NO_ADDRESS",
              where,
              `upstream ${name}: the host name ${host} has no address (${code})`,
              "check the name, or write an IP address",
            ),
          );
        }
      }
    }
    upstreams.push({ name, addresses: found });
  }
  return errors.length > 0 ? err(errors) : ok(upstreams);
}

import { UserError } from "../common/user-error.ts";
import { formatEndpoint } from "./endpoint.ts";
import type { ListenerPlan } from "./plan.ts";

const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: "stop the process that holds it, or change the listener's port",
  EACCES: "ports below 1024 need a privilege: choose a higher one, or grant CAP_NET_BIND_SERVICE",
  EADDRNOTAVAIL: "listen on an address of this machine; `ip address` lists them",
  EAFNOSUPPORT: "this system has no IPv6: listen on an IPv4 address",
  EMFILE: "raise the limit of open files (ulimit -n)",
  ENOTSUP: "this system cannot share a port between workers: set workers to 1",
};

const causes: Readonly<Record<string, string>> = {
  EADDRINUSE: "the address is in use",
  EACCES: "permission denied",
  EADDRNOTAVAIL: "this machine does not have the address",
  EAFNOSUPPORT: "the address family is not supported",
  EMFILE: "too many open files",
  ENOTSUP: "the port cannot be shared",
};

/** Why a listener could not be bound, and what would help. */
export function listenError(
  plan: Pick<ListenerPlan, "name" | "protocol" | "listen">,
  error: NodeJS.ErrnoException,
): UserError {
  const code = error.code ?? "";
  const address = formatEndpoint(plan.listen.host, plan.listen.port);
  const cause = causes[code] === undefined ? error.message : `${causes[code]} (${code})`;
  return new UserError(
    "LISTEN_FAILED",
    `listener ${plan.name}`,
    `cannot listen on ${plan.protocol} ${address}: ${cause}`,
    remedies[code],
  );
}

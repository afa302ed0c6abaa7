import type { SocketOptions } from "node:dgram";

/** What both kinds of UDP socket ask of the kernel, which gives at most its own limit. */
export const socketBufferBytes = 4 * 1024 * 1024;

/** Bytes that may wait in libuv where the kernel would block; then datagrams are dropped. */
export const maxQueuedBytes = 1024 * 1024;

/** The most a datagram carries: 65,535 less UDP's header, and on IPv4 less IP's. RFC 768, RFC 791. */
export const maxPayloadBytes = { 4: 65_507, 6: 65_527 } as const;

/**
 * Addresses are numbers already. node:dgram would still ask the resolver and send in a later turn;
 * with this it sends at once.
 */
export const numericLookup: NonNullable<SocketOptions["lookup"]> = (host, options, callback) => {
  callback(null, host, options.family === 6 || options.family === "IPv6" ? 6 : 4);
};

import type { OnReadOpts, Socket } from "node:net";

/** What `onread` becomes inside a socket: Node's own symbols of three properties, null without it. */
const descriptions = ["kBuffer", "kBufferGen", "kBufferCb"] as const;

interface SocketInside {
  readonly _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  [property: symbol]: unknown;
}

/** By the order of `descriptions`; undefined: not asked yet, or this Node has other ones. */
let symbols: readonly symbol[] | undefined;

/**
 * Has an accepted socket that nobody has read from, and that is paused, read as `onread` of
 * `net.connect` says. Node offers that for sockets that it dials only; inside, both are the same. Where
 * the inside is not as in Node 24 and 26 nothing happens and the answer is false: the socket emits
 * `data`, as any. That costs 1 to 2 µs more a read, since Node then makes a buffer for it and calls
 * back once more.
 */
export function readAccepted(socket: Socket, { buffer, callback }: OnReadOpts): boolean {
  const inside = socket as unknown as SocketInside;
  const handle = inside._handle;
  if (typeof handle?.useUserBuffer !== "function") return false;
  if (socket.bytesRead > 0 || typeof buffer !== "function") return false;
  symbols ??= symbolsOf(socket);
  const [held, next, called] = symbols ?? [];
  if (held === undefined || next === undefined || called === undefined) return false;
  if (inside[held] !== null || inside[next] !== null || inside[called] !== null) return false;
  const first = buffer();
  inside[held] = first;
  inside[next] = buffer;
  inside[called] = callback;
  handle.useUserBuffer(first);
  return true;
}

function symbolsOf(socket: Socket): readonly symbol[] | undefined {
  const own = Object.getOwnPropertySymbols(socket);
  const found = descriptions.map((name) => own.find(({ description }) => description === name));
  return found.every((symbol) => symbol !== undefined) ? found : undefined;
}

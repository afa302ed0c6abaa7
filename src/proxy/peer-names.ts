import { randomBytes } from "node:crypto";
import type { DatagramPeer, ListenerSocketEvents } from "./datagram-socket.ts";
import { decodeSocketName, socketNameBytes } from "./socket-name.ts";

interface Entry<Peer> {
  /** Words of the socket address. */
  readonly words: Int32Array;
  peer: Peer;
  next: Entry<Peer> | undefined;
}

/** Peers known by their socket addresses; more, and all are looked up again. */
const maxEntries = 65_536;

const AF_INET = 2;

/**
 * Peers by socket address, as the kernel writes it: no text is made of an address that is known.
 * Text and peers come from the listener, which also says whether a peer is still one of its own.
 */
export class PeerNames<Peer extends DatagramPeer> {
  readonly #events: Pick<ListenerSocketEvents<Peer>, "peer" | "isCurrent">;
  readonly #entries = new Map<number, Entry<Peer>>();
  #count = 0;

  constructor(events: Pick<ListenerSocketEvents<Peer>, "peer" | "isCurrent">) {
    this.#events = events;
  }

  /** The peer whose socket address is at `at`, a multiple of 4, of `names`. `words` are the same bytes. */
  find(names: Buffer, words: Int32Array, at: number): Peer {
    const first = at >> 2;
    const isIpv4 = (words[first]! & 0xffff) === AF_INET;
    const hash = isIpv4
      ? mix(words[first]!, words[first + 1]!)
      : mix(
          mix(mix(words[first]!, words[first + 2]!), words[first + 3]!),
          mix(words[first + 4]!, words[first + 5]!),
        );
    let entry = this.#entries.get(hash);
    while (entry !== undefined && !equals(entry.words, words, first)) entry = entry.next;
    if (entry !== undefined && this.#events.isCurrent(entry.peer)) return entry.peer;
    const { address, port } = decodeSocketName(names, at);
    const peer = this.#events.peer(address, port);
    const name = Uint8Array.prototype.slice.call(names, at, at + socketNameBytes(names, at));
    peer.socketName = name;
    if (entry !== undefined) entry.peer = peer;
    else this.#add(hash, new Int32Array(name.buffer, 0, isIpv4 ? 2 : 7), peer);
    return peer;
  }

  #add(hash: number, words: Int32Array, peer: Peer): void {
    if (this.#count === maxEntries) {
      this.#entries.clear();
      this.#count = 0;
    }
    this.#count++;
    this.#entries.set(hash, { words, peer, next: this.#entries.get(hash) });
  }
}

/** Odd, and nobody's guess: else senders could choose addresses and ports that all have one hash. */
const multiplier = randomBytes(4).readInt32LE() | 1;

/** Murmur3's mixing step: a few instructions, and neighbouring ports far apart. */
function mix(a: number, b: number): number {
  const hash = Math.imul(a ^ Math.imul(b, multiplier), 0x1b873593);
  return hash ^ (hash >>> 15);
}

function equals(known: Int32Array, words: Int32Array, first: number): boolean {
  for (let i = 0; i < known.length; i++) if (known[i] !== words[first + i]) return false;
  return true;
}

import { ETH_P_IP, ETH_P_IPV6 } from "../socket-context.ts";

const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

/**
 * A hash of a packet's flow: addresses, protocol and ports, the same in both directions, never 0.
 * Kernel: skb_get_hash, whose values depend on a secret key of each boot; these do not, so that
 * runs can be repeated. `network` is the network header's address, `end` the packet's.
 */
export function flowHash(view: DataView, network: number, end: number, protocol: number): number {
  const length = end - network;
  if (protocol === ETH_P_IP && length >= 20) {
    const isFragment = (view.getUint16(network + 6) & 0x3fff) !== 0;
    const transport = network + (view.getUint8(network) & 15) * 4;
    const next = view.getUint8(network + 9);
    return hashOf(view, network + 12, 4, next, isFragment ? end : transport, end);
  }
  if (protocol === ETH_P_IPV6 && length >= 40)
    return hashOf(view, network + 8, 16, view.getUint8(network + 6), network + 40, end);
  return finish(mix(0, protocol));
}

/** Of the addresses at `at`, each of `size` bytes, and the ports at `transport`, where there are any. */
function hashOf(
  view: DataView,
  at: number,
  size: number,
  protocol: number,
  transport: number,
  end: number,
): number {
  const hasPorts = (protocol === IPPROTO_TCP || protocol === IPPROTO_UDP) && transport + 4 <= end;
  let source = hasPorts ? view.getUint16(transport) : 0;
  let destination = hasPorts ? view.getUint16(transport + 2) : 0;
  for (let i = 0; i < size; i += 4) {
    source = mix(source, view.getUint32(at + i));
    destination = mix(destination, view.getUint32(at + size + i));
  }
  // The smaller end first: both directions give one hash.
  const [low, high] =
    source >>> 0 <= destination >>> 0 ? [source, destination] : [destination, source];
  return finish(mix(mix(low, high), protocol));
}

/** A step of MurmurHash3 (Austin Appleby, public domain). */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0 || 1;
}

/**
 * Places of `nodes`, the one for `client` first: rendezvous hashing (Thaler and Ravishankar, 1998).
 * Each pair of client and node has a score; the highest wins. Where a node goes, only its own clients
 * move, each to what was second for it; the order is the same on every worker and after a restart.
 */
export function rendezvousOrder(
  client: string,
  nodes: readonly { readonly key: string }[],
): number[] {
  const clientHash = hash(client, 0x811c9dc5);
  const scores = nodes.map(({ key }) => mix(hash(key, clientHash)));
  return nodes.map((_, place) => place).sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/** FNV-1a over the characters, from `seed` on. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value;
}

/** The last steps of MurmurHash3: FNV's high bits alone are too alike for near texts. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

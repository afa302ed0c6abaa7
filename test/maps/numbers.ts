/** A seeded generator: the same numbers in every run. `random(n)` is 0 to n - 1. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) % below;
  };
}

/** `size` bytes whose first hold `n`, little-endian. */
export function bytesOf(n: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < Math.min(size, 4); i++) bytes[i] = n >>> (8 * i);
  return bytes;
}

/** What `bytesOf` put into the first bytes. */
export function numberOf(bytes: Uint8Array): number {
  let n = 0;
  for (let i = 0; i < Math.min(bytes.length, 4); i++) n += bytes[i]! * 2 ** (8 * i);
  return n;
}

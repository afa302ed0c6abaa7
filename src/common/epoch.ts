const nanosecondsPerSecond = 1_000_000_000;
/** Seconds × 10⁹ is beyond 2⁵³: it is taken apart into steps of 16 bits, each of which is exact. */
const step = 65_536;

/**
 * A time as nanoseconds since 1970 in 64 bits: the upper 32 of them, negative before 1970.
 * `nanoseconds` is below 10⁹. In numbers, as a BigInt for each packet would take most of the time.
 */
export function epochHighWord(seconds: number, nanoseconds: number): number {
  const upper = Math.floor(seconds / step) * nanosecondsPerSecond;
  return Math.floor(upper / step) + Math.floor(lowerPart(seconds, nanoseconds) / 2 ** 32);
}

/** The lower 32 bits, unsigned. */
export function epochLowWord(seconds: number, nanoseconds: number): number {
  return lowerPart(seconds, nanoseconds) % 2 ** 32;
}

/** All but the upper word, with what carries over into it. */
function lowerPart(seconds: number, nanoseconds: number): number {
  const steps = Math.floor(seconds / step);
  const upper = steps * nanosecondsPerSecond;
  const rest = upper - Math.floor(upper / step) * step;
  return rest * step + (seconds - steps * step) * nanosecondsPerSecond + nanoseconds;
}

/** Up to this many units a second, 16-bit steps of a long division stay exact in a number. */
const maxFastUnits = 2 ** 37;

/** Whether if_tsresol is one that times of this age fit: what libpcap takes, to 10⁻¹⁹ and 2⁻⁶³ seconds. */
export function isResolution(resolution: number): boolean {
  return (resolution & 0x7f) <= ((resolution & 0x80) === 0 ? 19 : 63);
}

/**
 * Turns an interface's 64-bit timestamps into seconds and nanoseconds. `resolution` is
 * if_tsresol: a negative power of 10, or of 2 where the top bit is set. draft-ietf-opsawg-pcapng §4.2.
 */
export class TimestampClock {
  /** Of the timestamp that was set last. */
  seconds = 0;
  nanoseconds = 0;
  readonly #offsetSeconds: number;
  /** Units a second; 0 where only the slow way is exact. */
  readonly #units: number;
  readonly #slowUnits: bigint;

  /** `offsetSeconds` is if_tsoffset: added to every timestamp. */
  constructor(resolution: number, offsetSeconds: number) {
    const exponent = BigInt(resolution & 0x7f);
    this.#slowUnits = ((resolution & 0x80) === 0 ? 10n : 2n) ** exponent;
    this.#units = this.#slowUnits <= maxFastUnits ? Number(this.#slowUnits) : 0;
    this.#offsetSeconds = offsetSeconds;
  }

  /** Takes a timestamp of `high` × 2³² + `low` units. */
  set(high: number, low: number): void {
    if (this.#units === 0) this.#setSlowly(high, low);
    else {
      const units = this.#units;
      // Long division, 16 bits a step: the quotient and each remainder stay below 2⁵³.
      let rest = high % units;
      let quotient = Math.floor(high / units);
      for (const digit of [low >>> 16, low & 0xffff]) {
        const value = rest * 0x10000 + digit;
        quotient = quotient * 0x10000 + Math.floor(value / units);
        rest = value % units;
      }
      this.seconds = quotient + this.#offsetSeconds;
      this.nanoseconds = nanosecondsOf(rest, units);
    }
  }

  #setSlowly(high: number, low: number): void {
    const units = this.#slowUnits;
    const value = (BigInt(high) << 32n) | BigInt(low);
    this.seconds = Number(value / units) + this.#offsetSeconds;
    this.nanoseconds = Number(((value % units) * 1_000_000_000n) / units);
  }
}

/** `rest` of `units` a second, in whole nanoseconds, rounded down. */
function nanosecondsOf(rest: number, units: number): number {
  if (units === 1_000_000_000) return rest;
  if (units === 1_000_000) return rest * 1000;
  return Number((BigInt(rest) * 1_000_000_000n) / BigInt(units));
}

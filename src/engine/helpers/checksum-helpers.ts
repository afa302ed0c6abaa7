import { type Helper, R1, R2, R3, R4, R5, xdpAndTc } from "./helper.ts";

const maxWord = 0xffff_ffff;
const wordValues = 2 ** 32;

/** Checksums over memory. */
export const checksumHelpers: readonly Helper[] = [
  {
    id: 28,
    name: "csum_diff",
    arguments: [
      "readable_memory_or_null",
      "size_or_zero",
      "readable_memory_or_null",
      "size_or_zero",
      "anything",
    ],
    types: xdpAndTc,
    packetMemory: true,
    /**
     * seed + sum(to) - sum(from), folded to 16 bits, for any sizes: as Linux 6.18 does. Older
     * kernels do not fold, and refuse sizes that are no multiples of 4.
     */
    call(run) {
      const { registers } = run;
      const { view } = run.context.arena;
      const fromSize = registers[R2]!;
      const toSize = registers[R4]!;
      let sum = registers[R5]! >>> 0;
      if (toSize > 0) sum = sumWords(view, registers[R3]!, toSize, sum);
      // Subtracting is adding the complement; alone, the kernel complements the seed instead.
      if (fromSize > 0 && toSize > 0)
        sum = addWords(sum, ~sumWords(view, registers[R1]!, fromSize, 0) >>> 0);
      else if (fromSize > 0) sum = ~sumWords(view, registers[R1]!, fromSize, ~sum >>> 0) >>> 0;
      return foldTo16(sum);
    },
  },
];

/** The kernel's csum_partial: 0 only where everything summed is 0. */
function sumWords(view: DataView, at: number, size: number, seed: number): number {
  let sum = seed;
  const whole = size - (size % 4);
  for (let i = 0; i < whole; i += 4) {
    sum += view.getUint32(at + i, true);
    // Once every 2¹⁶ words keeps the sum below 2⁴⁹, where a double is exact.
    if ((i & 0x3_fffc) === 0x3_fffc) sum = carryAround(sum);
  }
  for (let i = whole; i < size; i++) sum += view.getUint8(at + i) * 2 ** (8 * (i - whole));
  return carryAround(sum);
}

/** End-around carry: 2³² - 1 and 0 are both zero, but only 0 itself stays 0. */
function carryAround(sum: number): number {
  let carried = sum;
  while (carried > maxWord) carried = (carried >>> 0) + Math.trunc(carried / wordValues);
  return carried;
}

function addWords(a: number, b: number): number {
  return carryAround(a + b);
}

/** The kernel's csum_from32to16. */
function foldTo16(sum: number): number {
  const high = sum >>> 16;
  const low = sum & 0xffff;
  const folded = high + low;
  return folded > 0xffff ? folded - 0xffff : folded;
}

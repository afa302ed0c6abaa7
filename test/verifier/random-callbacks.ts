import type { Random } from "../packet/random.ts";

/** Times that a bpf_loop goes round: few, since they multiply. */
const rounds = [0, 1, 2, 5, 17];

/** Maps that are walked over, by index, and the bytes of their values. */
const walked = [
  { map: 0, valueBytes: 16 },
  { map: 1, valueBytes: 32 },
] as const;

/**
 * Text of a program whose functions are callbacks of one another, up to four deep, of loops and of walks
 * over maps 0 and 1, and share six numbers on the first one's stack: they count them up, copy them, take
 * them from the maps' values, branch on them and use them as offsets, bounded or nearly.
 */
export function randomCallbacks(random: Random): string {
  const writer = new CallbackWriter(random, 2 + random.below(3));
  return writer.write();
}

class CallbackWriter {
  readonly #random: Random;
  readonly #functions: number;
  /** By function: what it is called for each entry of, or undefined: it is a loop's. */
  readonly #walks: readonly ((typeof walked)[number] | undefined)[];
  #labels = 0;

  constructor(random: Random, functions: number) {
    this.#random = random;
    this.#functions = functions;
    this.#walks = Array.from({ length: functions }, () => walked[random.below(8)]);
  }

  write(): string {
    const shared = Array.from({ length: 6 }, (_, i) => `*(u64 *)(r10 - ${8 * (i + 1)}) = 0`);
    const parts = [[...shared, "r6 = r10", "r6 += -8", this.#body(0)].join("\n")];
    for (let f = 1; f < this.#functions; f++)
      parts.push(`f${f}: ${this.#arguments(f)}\n${this.#body(f)}`);
    return parts.join("\n");
  }

  /** r6 is where the shared numbers are; one of them may come from the value. */
  #arguments(callee: number): string {
    const walk = this.#walks[callee];
    if (walk === undefined) return "r6 = r2";
    const at = this.#random.below(walk.valueBytes + (this.#one(8) ? 1 : 0));
    return `r6 = r4\nr3 = *(u8 *)(r3 + ${at})\n${this.#shared()} = r3`;
  }

  #body(depth: number): string {
    const lines = ["r7 = 0", "r8 = 0"];
    const count = 2 + this.#random.below(5);
    for (let i = 0; i < count; i++) lines.push(this.#segment(depth));
    // Each is called by the one before, or it would be unreachable.
    if (depth + 1 < this.#functions) lines.push(this.#call(depth + 1));
    // Callbacks go on mostly; what a program returns is anything.
    const answer = this.#one(4) ? "r0 = 1" : this.#one(5) ? "r0 = r7" : "r0 = 0";
    return `${lines.join("\n")}\n${answer}\nexit`;
  }

  #one(chances: number): boolean {
    return this.#random.below(chances) === 0;
  }

  #shared(): string {
    return `*(u64 *)(r6 - ${8 * this.#random.below(6)})`;
  }

  #segment(depth: number): string {
    const random = this.#random;
    const label = `l${this.#labels++}`;
    const load = `r3 = ${this.#shared()}`;
    switch (random.below(9)) {
      case 0:
        return `${load}\nr3 += ${random.below(3)}\n${this.#shared()} = r3`;
      case 1:
        return `${load}\nif r3 == ${random.below(6)} goto ${label}\nr7 += 1\n${label}:`;
      case 2:
        return `${load}\nif r3 > ${random.below(9)} goto ${label}\n${this.#shared()} = ${random.below(5)}\n${label}:`;
      case 3:
        return `call 7\nif r0 > ${random.below(9)} goto ${label}\nr8 = ${random.below(9)}\n${label}:`;
      case 4: {
        // 16 bytes lie below the frame pointer: 15 is the last that fits.
        const bound = this.#one(2) ? "r3 &= 15" : `if r3 > ${this.#one(3) ? 16 : 15} goto ${label}`;
        return `${load}\n${bound}\nr4 = r10\nr4 += -16\nr4 += r3\n*(u8 *)(r4 + 0) = r3\n${label}:`;
      }
      case 5:
        return `${load}\n${this.#shared()} = r3`;
      default: {
        if (depth + 1 >= this.#functions) return `r8 += ${random.below(3)}`;
        return this.#call(depth + 1 + random.below(this.#functions - depth - 1));
      }
    }
  }

  #call(callee: number): string {
    const walk = this.#walks[callee];
    if (walk !== undefined)
      return `r1 = map_by_fd(${walk.map}) ll\nr2 = code_addr(f${callee}) ll\nr3 = r6\nr4 = 0\ncall 164`;
    const times = rounds[this.#random.below(rounds.length)]!;
    return `r1 = ${times}\nr2 = code_addr(f${callee}) ll\nr3 = r6\nr4 = 0\ncall 181`;
  }
}

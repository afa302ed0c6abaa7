import type { Random } from "../packet/random.ts";

/** Times that a bpf_loop goes round: of two, or of one in another, the sum or product may be too many. */
const rounds = [0, 1, 2, 3, 5, 7, 13, 20, 30, 40, 60];
/** Any one of these is not. */
const fewRounds = [5, 13, 20, 30, 35];

/** What a counter is a place in: bytes that may be reached through r9. */
const objects = [
  { code: "r9 = map_val(map_by_fd(2)) + 0 ll", bytes: 64 },
  {
    code: `r9 = *(u32 *)(r9 + 0)
      r3 = *(u32 *)(r7 + 4)
      r4 = r9
      r4 += 40
      if r4 > r3 goto out`,
    bytes: 40,
  },
  { code: "r9 = r10\nr9 += -64", bytes: 64 },
] as const;

/**
 * Text of an XDP program that counts in numbers on its stack, in callbacks of loops that follow one
 * another, stand in a loop or in a function, or in one another's callbacks; it masks and compares the
 * counts in between, or does not; and takes them for places in a map's value (of map 2, of 64 bytes), in the
 * packet or on its stack.
 */
export function randomCounting(random: Random): string {
  return new CountingWriter(random).write();
}

class CountingWriter {
  readonly #random: Random;
  /** Callbacks, each of which may start loops of those behind it. */
  readonly #callbacks: number;
  readonly #object: (typeof objects)[number];
  /** Of every two programs one counts in a single number, and always: what it counts is what it reaches. */
  readonly #plain: boolean;
  readonly #functions: string[] = [];
  #labels = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#plain = random.below(2) === 0;
    this.#callbacks = this.#plain && random.below(3) > 0 ? 1 : 1 + random.below(3);
    this.#object = this.#pick(objects);
  }

  write(): string {
    const stack = Array.from({ length: 8 }, (_, i) => `*(u64 *)(r10 - ${8 * (i + 1)}) = 0`);
    const lines = ["r7 = r1", "r9 = r1", this.#object.code, ...stack, "r6 = r10", "r6 += -8"];
    // Each is called by somebody, or it would be unreachable.
    for (let callback = 0; callback < this.#callbacks; callback++) lines.push(this.#loop(callback));
    const segments = 1 + this.#random.below(this.#plain ? 2 : 4);
    for (let i = 0; i < segments; i++)
      lines.splice(
        6 + stack.length + this.#random.below(lines.length - 5 - stack.length),
        0,
        this.#segment(),
      );
    lines.push(this.#use(), "out: r0 = 2", "exit");
    for (let callback = 0; callback < this.#callbacks; callback++)
      lines.push(this.#callback(callback));
    return [...lines, ...this.#functions].join("\n");
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T;
  }

  #one(chances: number): boolean {
    return this.#random.below(chances) === 0;
  }

  #label(): string {
    return `l${this.#labels++}`;
  }

  /** Mostly the same one, so that much comes together there. */
  #counter(): string {
    if (this.#plain) return "*(u64 *)(r6 - 0)";
    return `*(u64 *)(r6 - ${this.#one(4) ? 8 * this.#random.below(3) : 0})`;
  }

  /** What stands between loops. */
  #segment(): string {
    const callback = this.#random.below(this.#callbacks);
    switch (this.#random.below(this.#plain ? 4 : 8)) {
      case 0:
      case 1:
        return this.#loop(callback);
      case 2: {
        const label = this.#label();
        const times = 2 + this.#random.below(2);
        return `r8 = 0\n${label}: ${this.#loop(callback)}\nr8 += 1\nif r8 < ${times} goto ${label}`;
      }
      case 3: {
        const name = `s${this.#functions.length}`;
        this.#functions.push(`${name}: r6 = r1\n${this.#loop(callback)}\nr0 = 0\nexit`);
        return `r1 = r6\ncall ${name}`;
      }
      case 4: {
        const label = this.#label();
        return `call 7\nr0 &= 1\nif r0 == 0 goto ${label}\n${this.#loop(callback)}\n${label}:`;
      }
      case 5:
        return this.#use();
      default:
        return this.#change();
    }
  }

  #loop(callback: number): string {
    const unknown = this.#one(8)
      ? "call 7\nr0 &= 31\nr1 = r0"
      : `r1 = ${this.#pick(this.#plain ? fewRounds : rounds)}`;
    return `${unknown}\nr2 = code_addr(f${callback}) ll\nr3 = r6\nr4 = 0\ncall 181`;
  }

  /** One byte of the object, at the place that a counter says. */
  #use(): string {
    const place = `r3 = ${this.#counter()}`;
    const bound = !this.#plain && this.#one(3) ? `\nr3 &= ${this.#pick([31, 63])}` : "";
    return `${place}${bound}\nr4 = r9\nr4 += r3\nr3 = *(u8 *)(r4 + 0)`;
  }

  /** Something other than counting happens to a counter. */
  #change(): string {
    const load = `r3 = ${this.#counter()}`;
    const store = `${this.#counter()} = r3`;
    const label = this.#label();
    switch (this.#random.below(6)) {
      case 0:
      case 1:
        return `${load}\nr3 &= ${this.#pick([7, 15, 31, 63])}\n${store}`;
      case 2:
        return `${load}\nif r3 <= ${this.#pick([8, 20, 39, 63])} goto ${label}\nr3 = 0\n${store}\n${label}:`;
      case 3:
        return `${load}\n${store}`;
      case 4:
        return `${load}\nr4 = ${this.#counter()}\nr3 += r4\n${store}`;
      default:
        return `call 7\nr0 &= 1\nif r0 == 0 goto ${label}\n${this.#counter()} = ${this.#random.below(40)}\n${label}:`;
    }
  }

  #callback(callback: number): string {
    const lines = [`f${callback}: r6 = r2`];
    const count = this.#plain ? 1 : 1 + this.#random.below(2);
    for (let i = 0; i < count; i++) lines.push(this.#count());
    const behind = callback + 1 < this.#callbacks && this.#one(2);
    if (behind) lines.push(this.#loop(callback + 1));
    lines.push(this.#pick(["r0 = 0", "r0 = 0", "r0 = 0", "call 7\nr0 &= 1", "r0 = 1"]), "exit");
    return lines.join("\n");
  }

  #count(): string {
    const counter = this.#counter();
    const add = `r3 = ${counter}\nr3 += ${1 + this.#random.below(2)}\n${counter} = r3`;
    if (this.#plain) return add;
    const label = this.#label();
    switch (this.#random.below(8)) {
      case 0:
        return `call 7\nr0 &= 1\nr3 = ${counter}\nr3 += r0\n${counter} = r3`;
      case 1:
        return `call 7\nr0 &= 1\nif r0 == 0 goto ${label}\n${add}\n${label}:`;
      case 2:
        return `r3 = ${counter}\nif r3 > ${this.#pick([8, 30, 39, 62])} goto ${label}\n${add}\n${label}:`;
      case 3:
        return `r3 = *(u64 *)(r6 - 0)\nr4 = *(u64 *)(r6 - 8)\n*(u64 *)(r6 - 0) = r4\n*(u64 *)(r6 - 8) = r3`;
      case 4:
        return this.#change();
      default:
        return add;
    }
  }
}

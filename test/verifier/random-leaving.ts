import type { Random } from "../packet/random.ts";

/** What tail calls lead to, in slots 1, 2, … of the prog_array; all others are empty. */
export const leavingTargets: Record<"xdp" | "socket", readonly string[]> = {
  xdp: [
    "r2 = 8\ncall 44\nr0 = 5000\nexit",
    "r2 = -40\ncall 65\ncall 7\nexit",
    "r6 = r1\nr2 = -200\ncall 65\nr1 = r6\nr2 = 4\ncall 44\nr0 = -1\nexit",
  ],
  socket: ["r0 = 5000\nexit", "call 7\nexit", "r0 = -1\nexit"],
};

/** Bytes of the packet that a program has looked for. */
const packetBytes = [14, 34, 60] as const;

/**
 * Text of a program of static functions that may be left where they do not exit: by tail calls, through
 * map 3, and of a socket program by packet loads, which its callbacks may have too. They write their
 * callers' stack before and after, return what they know, call one another. The caller goes on with
 * what it had: pointers into the packet, loaded again or not, numbers on its stack and the function's
 * result as places on its stack, bounded or not.
 */
export function randomLeaving(random: Random, type: "xdp" | "socket"): string {
  return new LeavingWriter(random, type).write();
}

class LeavingWriter {
  readonly #random: Random;
  readonly #type: "xdp" | "socket";
  readonly #functions: number;
  /** What is a callback of bpf_loop, and left by packet loads alone. */
  readonly #callbacks: readonly boolean[];
  #labels = 0;

  constructor(random: Random, type: "xdp" | "socket") {
    this.#random = random;
    this.#type = type;
    this.#functions = 1 + random.below(3);
    this.#callbacks = Array.from(
      { length: this.#functions },
      () => type === "socket" && random.below(3) === 0,
    );
  }

  write(): string {
    const parts = [`${this.#begin()}\n${this.#caller(0)}\nout: r0 = 0\nexit`];
    for (let f = 0; f < this.#functions; f++) parts.push(this.#function(f));
    return parts.join("\n");
  }

  /** The context in r6, the shared numbers before r7, in r8 what may be used: the packet, or the stack. */
  #begin(): string {
    const stack = [8, 16, 24].map((at) => `*(u64 *)(r10 - ${at}) = ${this.#random.below(8)}`);
    const lines = ["r6 = r1", ...stack, "r7 = r10", "r8 = r10", "r8 += -56"];
    if (this.#type === "xdp") lines.push(this.#packet());
    return lines.join("\n");
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

  #packet(): string {
    const bytes = this.#pick(packetBytes);
    return `r8 = *(u32 *)(r6 + 0)\nr3 = *(u32 *)(r6 + 4)\nr4 = r8\nr4 += ${bytes}\nif r4 > r3 goto out`;
  }

  #shared(): string {
    return `*(u64 *)(r7 - ${8 * (1 + this.#random.below(3))})`;
  }

  /** Calls of what comes from `first` on, so that each is called by somebody, and uses in between. */
  #caller(first: number): string {
    const lines: string[] = [];
    for (let callee = first; callee < this.#functions; callee++) {
      lines.push(this.#call(callee));
      const uses = this.#random.below(3);
      for (let i = 0; i < uses; i++) lines.push(this.#use());
    }
    lines.push(this.#use());
    return lines.join("\n");
  }

  #call(callee: number): string {
    if (this.#callbacks[callee])
      return `*(u64 *)(r10 - 32) = r6\nr1 = ${1 + this.#random.below(3)}\nr2 = code_addr(f${callee}) ll\nr3 = r10\nr3 += -32\nr4 = 0\ncall 181\nr9 = 0`;
    return `r1 = r6\nr2 = r7\ncall f${callee}\nr9 = r0`;
  }

  /** One byte of the packet, or one of the caller's stack where a number says. */
  #use(): string {
    if (this.#type === "xdp" && this.#one(2)) {
      const again = this.#one(2) ? `${this.#packet()}\n` : "";
      return `${again}r3 = *(u8 *)(r8 + ${this.#pick([0, 13, 13, 33, 59])})`;
    }
    const label = this.#label();
    const number = this.#one(2) ? "r3 = r9" : `r3 = ${this.#shared()}`;
    const bound = this.#pick([
      "",
      "",
      "\nr3 &= 7",
      `\nif r3 > ${this.#pick([7, 7, 8])} goto ${label}`,
    ]);
    return `${number}${bound}\nr4 = r10\nr4 += -40\nr4 += r3\n*(u8 *)(r4 + 0) = 0\n${label}:`;
  }

  #function(number: number): string {
    const given = this.#callbacks[number]
      ? "r6 = *(u64 *)(r2 + 0)\nr7 = r2\nr7 += 32"
      : "r6 = r1\nr7 = r2";
    const lines = [`f${number}: ${given}`];
    const count = 1 + this.#random.below(4);
    for (let i = 0; i < count; i++) lines.push(this.#segment(number));
    lines.push(this.#leave(number));
    if (this.#one(2)) lines.push(this.#segment(number));
    lines.push(this.#callbacks[number] ? `r0 = ${this.#random.below(2)}` : this.#answer(), "exit");
    return lines.join("\n");
  }

  #answer(): string {
    return this.#pick(["r0 = 0", "r0 = 7", "r0 = 8", `r0 = ${this.#shared()}`, "call 7\nr0 &= 7"]);
  }

  #segment(number: number): string {
    const label = this.#label();
    switch (this.#random.below(6)) {
      case 0:
        return `call 7\nif r0 > 0x7fffffff goto ${label}\n${this.#shared()} = ${this.#random.below(9)}\n${label}:`;
      case 1:
        return `r3 = ${this.#shared()}\nr3 += 1\n${this.#shared()} = r3`;
      case 2:
        return `call 7\nif r0 > 0x7fffffff goto ${label}\n${this.#leave(number)}\n${label}:`;
      case 3:
        // Frames of callbacks are of no use to those that follow: they are given a context elsewhere.
        return number + 1 < this.#functions && !this.#callbacks[number + 1]
          ? `r1 = r6\nr2 = r7\ncall f${number + 1}\nr9 = r0\n${this.#shared()} = r9`
          : `${this.#shared()} = 0`;
      default:
        return `${this.#shared()} = ${this.#pick([0, 1, 7, 8, 4000])}`;
    }
  }

  #leave(number: number): string {
    if (this.#type === "socket" && (this.#callbacks[number] || this.#one(2))) {
      const load = `r0 = *(u8 *)skb[${this.#pick([13, 40, 200])}]`;
      return this.#one(2) ? load : `${load}\nr0 &= 7\n${this.#shared()} = r0`;
    }
    const slot = this.#one(3)
      ? "call 7\nr0 &= 3\nr3 = r0"
      : `r3 = ${this.#random.below(leavingTargets[this.#type].length + 1)}`;
    return `${slot}\nr1 = r6\nr2 = map_by_fd(3) ll\ncall 12`;
  }
}

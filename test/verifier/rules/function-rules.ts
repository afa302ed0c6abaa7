import { allStatic, type RuleCase } from "./rule-case.ts";

export const functionRules: readonly RuleCase[] = [
  {
    rule: "the spin locks of two values that walks over one map give are two",
    accepted: nestedWalks("r7", "r7"),
    refused: nestedWalks("r7", "r6"),
    code: "SPIN_LOCK",
    says: /r1 points to another spin lock than the one taken at/,
    notInKernel: "it takes them for one",
  },
  {
    rule: "a function gets what each call passes",
    accepted:
      "r2 = 8\ncall f\nr0 = 0\nexit\nf: r3 = r10\nr3 += -16\nr3 += r2\n*(u64 *)(r3 + 0) = 1\nr0 = 0\nexit",
    refused:
      "r2 = 16\ncall f\nr0 = 0\nexit\nf: r3 = r10\nr3 += -16\nr3 += r2\n*(u64 *)(r3 + 0) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a function may write its caller's stack",
    accepted:
      "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = 1\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 8) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a function does not return a pointer to its stack",
    accepted: "call f\nr0 = 0\nexit\nf: r0 = r1\nexit",
    refused: "call f\nr0 = 0\nexit\nf: r0 = r10\nexit",
    code: "STACK_POINTER_RETURNED",
    says: /whose frame ends with it/,
  },
  {
    rule: "a function does not leave a pointer to its stack behind",
    accepted: "r1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = 5\nr0 = 0\nexit",
    refused: "r1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = r10\nr0 = 0\nexit",
    code: "STACK_POINTER_RETURNED",
    says: /left there/,
  },
  {
    rule: "nested functions share 512 bytes of stack",
    accepted:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r10 - 256) = 0\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r10 - 264) = 0\nr0 = 0\nexit",
    code: "STACK_DEPTH",
    says: /2 nested functions use 528 bytes of stack together, 272 of them the function at instruction 4,/,
  },
  {
    rule: "a function that uses no stack takes none from those it calls",
    accepted: "call f\nexit\nf: *(u64 *)(r10 - 512) = 0\nr0 = 0\nexit",
    refused: "*(u64 *)(r10 - 8) = 0\ncall f\nexit\nf: *(u64 *)(r10 - 512) = 0\nr0 = 0\nexit",
    code: "STACK_DEPTH",
    says: /2 nested functions use 528 bytes/,
  },
  {
    rule: "functions nest eight deep",
    accepted: nested(8),
    refused: nested(9),
    code: "CALL_DEPTH",
    says: /more than 8 functions/,
  },
  {
    rule: "global functions nest eight deep, the program among them",
    accepted: nested(8),
    refused: nested(9),
    code: "CALL_DEPTH",
    says: /more than 8 functions are nested here; nest fewer functions/,
    typed: new Map(Array.from({ length: 8 }, (_, i) => [3 * i + 3, []])),
  },
  {
    rule: "a global function does not call itself",
    accepted: "call f\nr0 = 0\nexit\nf: r0 = 1\nr0 = 0\nexit",
    refused: "call f\nr0 = 0\nexit\nf: call f\nr0 = 0\nexit",
    code: "CALL_DEPTH",
    says: /function1 calls itself: BPF has no recursion; make it a loop/,
    typed: new Map([[3, []]]),
  },
  {
    rule: "a static function does not call itself",
    accepted: "call f\nr0 = 0\nexit\nf: r0 = 1\nr0 = 0\nexit",
    refused: "call f\nr0 = 0\nexit\nf: call f\nr0 = 0\nexit",
    code: "CALL_DEPTH",
    says: /function1 calls itself: BPF has no recursion; make it a loop/,
    typed: allStatic,
  },
  {
    rule: "functions without names do not call each other in a ring",
    accepted: "call f\nr0 = 0\nexit\nf: call g\nr0 = 0\nexit\ng: r0 = 1\nr0 = 0\nexit",
    refused: "call f\nr0 = 0\nexit\nf: call g\nr0 = 0\nexit\ng: call f\nr0 = 0\nexit",
    code: "CALL_DEPTH",
    says: /the function at instruction 3 calls itself through the function at instruction 6: BPF has/,
  },
  {
    rule: "global functions do not call each other in a ring",
    accepted: "call f\nr0 = 0\nexit\nf: call g\nr0 = 0\nexit\ng: r0 = 1\nr0 = 0\nexit",
    refused: "call f\nr0 = 0\nexit\nf: call g\nr0 = 0\nexit\ng: call f\nr0 = 0\nexit",
    code: "CALL_DEPTH",
    says: /function1 calls itself through function2: BPF has no recursion/,
    typed: new Map([
      [3, []],
      [6, []],
    ]),
  },
  {
    rule: "a global function is not given the context as that of another program type",
    accepted: othersContext("r1 = r10\nr1 += -8\n*(u64 *)(r1 + 0) = 1"),
    refused: othersContext("r2 = r10\nr2 += -8\n*(u64 *)(r2 + 0) = 1"),
    code: "FUNCTION_ARGUMENT",
    says: /global function function1 takes in r1 a struct __sk_buff, which is not the context of programs of type xdp; let it take a struct xdp_md/,
    typed: new Map([[6, [{ bytes: 8, struct: "__sk_buff" }]]]),
  },
  {
    rule: "tail calls keep the stack below them small",
    accepted:
      "*(u64 *)(r10 - 240) = 0\ncall f\nr0 = 0\nexit\nf: r2 = map_by_fd(5) ll\nr3 = 0\ncall 12\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: r2 = map_by_fd(5) ll\nr3 = 0\ncall 12\nr0 = 0\nexit",
    code: "STACK_DEPTH",
    says: /instruction 1 \(call pc\+.*the function called here makes tail calls/,
    typed: allStatic,
  },
  {
    rule: "a global function's memory is null by each way that leads to the call, or memory",
    accepted: memoryOrNull("r1 = 0"),
    refused: memoryOrNull("r1 = 65536"),
    code: "FUNCTION_ARGUMENT",
    says: /takes in r1 a pointer to 8 bytes of memory/,
    typed: new Map([[24, [{ bytes: 8 }]]]),
    notInKernel:
      "Linux 6.18 forgets that it had to be 0 where both ways meet, and takes any number",
  },
  {
    rule: "a callback runs any number of times on what it was given",
    accepted: loopProgram("r3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit"),
    refused: loopProgram(
      "r3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr2 += r3\n*(u8 *)(r2 + 0) = 1\nr0 = 0\nexit",
    ),
    code: "POINTER_OFFSET",
    says: /r2 is moved by any number, which may be anywhere/,
    typed: allStatic,
  },
  {
    rule: "a number that changes in a callback's loop is any number there",
    accepted: loopProgram(countedThenUsed("if r3 > 3 goto end")),
    refused: loopProgram(countedThenUsed("r5 = 0")),
    code: "POINTER_OFFSET",
    says: /r4 is moved by any number, which may be anywhere; the number at stack offset -8 of the program changes in the loop at instruction 7, and is any number after the first iteration;.*bound that number in the callback/,
    typed: allStatic,
  },
  {
    rule: "a callback is not what gives a record back",
    accepted: reservedAroundLoop("r0 = 1\nexit", "r1 = r6\nr2 = 0\ncall 132\n"),
    refused: reservedAroundLoop("r1 = *(u64 *)(r2 + 0)\nr2 = 0\ncall 132\nr0 = 1\nexit", ""),
    code: "REFERENCE_LEAK",
    says: /what the call at instruction 4 reserved is not given back: the callback of instruction \d+ gives it back, and may not be called even once; submit or discard it behind that call/,
    typed: allStatic,
  },
  {
    rule: "a callback gives back what it reserves",
    accepted: loopProgram(reserving("r1 = r0\nr2 = 0\ncall 132")),
    refused: loopProgram(reserving("*(u64 *)(r0 + 8) = 1")),
    code: "REFERENCE_LEAK",
    says: /what the call at instruction 14 reserved in function1, the callback of instruction 7, is not given back; submit or discard it in the callback, before it returns/,
    typed: allStatic,
  },
  {
    rule: "what a function reserves is given back by it, or by its caller",
    accepted: `call f\nr0 = 0\nexit\nf: ${reserving("r1 = r0\nr2 = 0\ncall 132")}`,
    refused: `call f\nr0 = 0\nexit\nf: ${reserving("*(u64 *)(r0 + 8) = 1")}`,
    code: "REFERENCE_LEAK",
    says: /the program ends, and what the call at instruction 7 reserved in function1, called at instruction 0, is not given back; submit or discard it on every path/,
    typed: allStatic,
  },
  {
    rule: "a callback walks the packet by an offset of its own while that is known to stay within reach",
    accepted: walkedPacket(64),
    refused: walkedPacket(1000),
    code: "PACKET_BOUNDS",
    says: /the number at stack offset -24 of the program still changes after 16 iterations of the loop at instruction 11;.*bound that number in the callback/,
    typed: allStatic,
  },
  {
    rule: "rounds of one loop come on top of those of another",
    accepted: countedTwice(25, 30),
    refused: countedTwice(30, 30),
    code: "STACK_BOUNDS",
    says: /1 byte at stack offset \d+ is outside of the frame/,
    typed: allStatic,
  },
  {
    rule: "rounds of a loop come on top of those that another one left off",
    accepted: countedTwice(30, 30, 15),
    refused: countedTwice(30, 30, 31),
    code: "STACK_BOUNDS",
    says: /1 byte at stack offset \d+ is outside of the frame/,
    typed: allStatic,
  },
  {
    rule: "rounds that begin with a count add to it, whatever was followed from a like count before",
    accepted: countedByChance("r3 &= 63"),
    refused: countedByChance("r3 = r3"),
    code: "TOO_COMPLEX",
    says: /1000000 instructions were followed/,
    notInKernel: "it follows either of them for longer than its limit",
  },
  {
    rule: "a loop around a callback's loop ends of itself",
    accepted: loopAround("r7 += 1\nif r7 < 12 goto again"),
    refused: loopAround("call 7\nif r0 < 12 goto again"),
    code: "INFINITE_LOOP",
    says: /a loop comes back here with nothing changed/,
    notInKernel: "it lets loops around a callback's run for ever",
  },
  {
    rule: "the rounds of a loop are a number",
    accepted: loopProgram("r0 = 0\nexit"),
    refused: loopProgram("r0 = 0\nexit").replace("r1 = 1000", "r1 = r10"),
    code: "HELPER_ARGUMENT",
    says: /bpf_loop takes in r1 how many rounds there are/,
    typed: allStatic,
  },
  {
    rule: "a callback returns 0 or 1",
    accepted: loopProgram("r0 = 1\nexit"),
    refused: loopProgram("r0 = 2\nexit"),
    code: "CALLBACK",
    says: /0 \(go on\) or 1 \(stop\)/,
    typed: allStatic,
  },
  {
    rule: "a callback for a map's entries gets key and value",
    accepted: walkProgram("r0 = *(u64 *)(r3 + 24)\nr0 = *(u64 *)(r2 + 0)\nr0 = 0\nexit"),
    refused: walkProgram("r0 = *(u64 *)(r3 + 24)\nr0 = *(u64 *)(r2 + 1)\nr0 = 0\nexit"),
    code: "MEMORY_BOUNDS",
    says: /bytes 1 to 8/,
    typed: allStatic,
  },
  {
    rule: "a callback does not write the key",
    accepted: walkProgram("*(u64 *)(r3 + 24) = 1\nr0 = 0\nexit"),
    refused: walkProgram("*(u64 *)(r2 + 0) = 1\nr0 = 0\nexit"),
    code: "MEMORY_READ_ONLY",
    says: /may only be read/,
    typed: allStatic,
  },
];

function othersContext(before: string): string {
  return `${before}\ncall f\nr0 = 1\nexit\nf: r0 = 0\nexit`;
}

function nested(depth: number): string {
  const functions = Array.from({ length: depth - 1 }, (_, i) =>
    i === depth - 2 ? `f${i}: r0 = 0\nexit` : `f${i}: call f${i + 1}\nr0 = 0\nexit`,
  );
  return `call f0\nr0 = 0\nexit\n${functions.join("\n")}`;
}

/** A record in r6 and at -8, and a loop that is given its place; `after` comes behind the loop. */
function reservedAroundLoop(body: string, after: string): string {
  return `r1 = map_by_fd(3) ll
    r2 = 16
    r3 = 0
    call 131
    if r0 == 0 goto out
    r6 = r0
    *(u64 *)(r10 - 8) = r0
    r1 = 1
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    ${after}out: r0 = 0
    exit
    f: ${body}`;
}

/** The body of a function that reserves a record; `use` is what it does where there is one. */
function reserving(use: string): string {
  return `r1 = map_by_fd(3) ll
    r2 = 16
    r3 = 0
    call 131
    if r0 == 0 goto end
    ${use}
    end: r0 = 0
    exit`;
}

/** A callback that counts up what it is given in some iterations, and in others moves a pointer by it. */
function countedThenUsed(before: string): string {
  return `r3 = *(u64 *)(r2 + 0)
    ${before}
    if r1 > 5 goto use
    r3 += 1
    *(u64 *)(r2 + 0) = r3
    end: r0 = 0
    exit
    use: r4 = r10
    r4 += -64
    r4 += r3
    *(u8 *)(r4 + 0) = 1
    goto end`;
}

/** Two loops count a number at -8, masked in between, that is then a place among the 56 bytes below it. */
function countedTwice(first: number, second: number, mask = -1): string {
  const loop = (rounds: number): string => `r1 = ${rounds}
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181`;
  return `*(u64 *)(r10 - 8) = 0
    ${loop(first)}
    r1 = *(u64 *)(r10 - 8)
    r1 &= ${mask}
    *(u64 *)(r10 - 8) = r1
    ${loop(second)}
    r1 = *(u64 *)(r10 - 8)
    r2 = r10
    r2 += -64
    r2 += r1
    *(u8 *)(r2 + 8) = 0
    r0 = 0
    exit
    f: r3 = *(u64 *)(r2 + 0)
    r3 += 1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    exit`;
}

/** What the soundness fuzz found: loops one in and after another that add to a number by chance. */
function countedByChance(bound: string): string {
  const loop = (rounds: number, callback: string): string => `r1 = ${rounds}
    r2 = code_addr(${callback}) ll
    r3 = r6
    r4 = 0
    call 181`;
  return `r9 = map_val(map_by_fd(4)) + 0 ll
    *(u64 *)(r10 - 8) = 0
    *(u64 *)(r10 - 24) = 0
    r6 = r10
    r6 += -8
    ${loop(7, "f0")}
    ${loop(13, "f1")}
    r8 = 0
    again: ${loop(5, "f0")}
    r8 += 1
    if r8 < 3 goto again
    r3 = *(u64 *)(r10 - 8)
    ${bound}
    r9 += r3
    r3 = *(u8 *)(r9 + 0)
    r0 = 2
    exit
    f0: r6 = r2
    call 7
    r0 &= 1
    r3 = *(u64 *)(r6 - 0)
    r3 += r0
    *(u64 *)(r6 - 0) = r3
    r3 = *(u64 *)(r6 - 16)
    r3 += 1
    *(u64 *)(r6 - 16) = r3
    ${loop(1, "f1")}
    r0 = 0
    exit
    f1: r6 = r2
    r3 = *(u64 *)(r6 - 0)
    r3 += 2
    *(u64 *)(r6 - 0) = r3
    call 7
    r0 &= 1
    r3 = *(u64 *)(r6 - 0)
    r3 += r0
    *(u64 *)(r6 - 0) = r3
    r0 = 1
    exit`;
}

/** A callback counts what nothing relies on, in a loop within another that `end` makes go round. */
function loopAround(end: string): string {
  return `*(u64 *)(r10 - 8) = 0
    r7 = 0
    again: r1 = 13
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    ${end}
    r0 = 0
    exit
    f: r3 = *(u64 *)(r2 + 0)
    r3 += 1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    exit`;
}

/** Long enough for what one way has seen to be kept where both meet. */
function memoryOrNull(otherWay: string): string {
  return `call 7
    r6 = r0
    ${otherWay}
    r3 = 0
    ${"r3 += 1\n".repeat(9)}
    if r6 s> 5 goto met
    r1 = 0
    met: ${"r3 += 1\n".repeat(6)}
    call f
    r0 = 1
    exit
    f: r0 = 1
    if r1 == 0 goto null
    r2 = 0
    *(u64 *)(r1 + 0) = r2
    null: exit`;
}

function loopProgram(body: string): string {
  return `*(u64 *)(r10 - 8) = 0
    r1 = 1000
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    r0 = 0
    exit
    f: ${body}`;
}

/** Each iteration adds a byte of the packet to the offset at which the next one looks. */
function walkedPacket(iterations: number): string {
  return `r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    *(u64 *)(r10 - 8) = r2
    *(u64 *)(r10 - 16) = r3
    *(u64 *)(r10 - 24) = 14
    r1 = ${iterations}
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -24
    r4 = 0
    call 181
    r0 = 0
    exit
    f: r3 = *(u64 *)(r2 + 16)
    r4 = *(u64 *)(r2 + 8)
    r5 = *(u64 *)(r2 + 0)
    r3 += r5
    r6 = r3
    r6 += 2
    r0 = 1
    if r6 > r4 goto out
    r6 = *(u8 *)(r3 + 1)
    r5 += r6
    *(u64 *)(r2 + 0) = r5
    r0 = 0
    out: exit`;
}

function walkProgram(body: string): string {
  return `r1 = map_by_fd(1) ll
    r2 = code_addr(f) ll
    r3 = 0
    r4 = 0
    call 164
    r0 = 0
    exit
    f: ${body}`;
}

/** A walk within a walk over a map with spin locks: the inner has its value in r6, the outer's in r7. */
function nestedWalks(locked: string, freed: string): string {
  return `r1 = map_by_fd(6) ll
    r2 = code_addr(outer) ll
    r3 = 0
    r4 = 0
    call 164
    r0 = 0
    exit
    outer: *(u64 *)(r10 - 8) = r3
    r1 = map_by_fd(6) ll
    r2 = code_addr(inner) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 164
    r0 = 0
    exit
    inner: r6 = r3
    r7 = *(u64 *)(r4 + 0)
    r1 = ${locked}
    r1 += 4
    call 93
    r1 = ${freed}
    r1 += 4
    call 94
    r0 = 0
    exit`;
}

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test as vitestTest } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verifiableProgram } from "../../src/engine/link.ts";
import { decodeProgram } from "../../src/isa/codec.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import { type Instruction, registerOf } from "../../src/isa/instruction.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec, ProgramSpec, ProgramType } from "../../src/object/object-spec.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { verify } from "../../src/verifier/verify.ts";
import { assembled } from "../engine/engine-bench.ts";
import { Random } from "../packet/random.ts";
import { corpus } from "../support/corpora.ts";
import { needing } from "../support/needing.ts";
import { brokenRule } from "../verifier/broken-rule.ts";
import { type Declarations, type TypedProgram, typed } from "../verifier/function-types.ts";
import { kernelVerdicts } from "../verifier/kernel-verdicts.ts";
import { randomCallbacks } from "../verifier/random-callbacks.ts";
import { randomCounting } from "../verifier/random-counting.ts";
import { randomGlobals } from "../verifier/random-globals.ts";
import { fuzzMapSpecs, mutated, randomProgram } from "../verifier/random-program.ts";
import { programOf } from "../verifier/rules/rule-case.ts";
import { cPrograms, preamble } from "./verifier-programs.ts";

const test = needing("clang", "kernel bpf()");
const folder = mkdtempSync(join(tmpdir(), "weir-kernel-verifier-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What the kernel refuses and we accept, and why that is safe. */
const knownlyAccepted: readonly [log: RegExp, reason: string][] = [
  [
    /LD_ABS is not allowed in subprogs/,
    "it stands in a function that is never called, and so is never run",
  ],
  [
    /r\d = \(s(8|16|32)\)r\d .*makes pkt pointer be out of bounds/,
    "of a sign extension the kernel forgets what was known of the low half, and we do not",
  ],
  [
    /\(8[47]\) [rw]\d = -[rw]\d .*(value is (negative|outside)|unbounded|out of bounds)/,
    "of the negative of a number the kernel forgets the range where that is wide, and we do not",
  ],
  [
    /smin=smin32=-(128|32768),smax=smax32=(127|32767)\)\|.*min value is negative/,
    "the same: what was known lay within these",
  ],
  [
    /BPF program is too large/,
    "it follows callbacks that count for longer than its limit, and we take their counts as any",
  ],
  [
    /verifier bug: No program to jit/,
    "it has verified the program, and then fails over a callback that it removed as never called",
  ],
  [/fd_idx without fd_array/, "lddw names its map by index, and the test's loader passes no array"],
];

/** What the kernel accepts and we refuse, and why. */
const knownlyRefused: readonly [message: RegExp, reason: string][] = [
  [/what it holds cannot be read through/, "the kernel lets programs read its own struct bpf_map"],
  [
    /\d+ instructions were followed|still changes after \d+ iterations/,
    "the test's limit is lower than the kernel's",
  ],
  [/pointer that is never null \(arg:nonnull\)/, "it lets a constant null through, which is read"],
  [
    /which may move the packet, takes in r\d memory/,
    "it lets the function use the memory once the packet has moved",
  ],
  [/takes in r\d memory, and r\d may be null/, "it lets helpers that look for null read there"],
  [/a loop comes back here with nothing changed/, "it lets loops around a callback's run for ever"],
];

interface Made {
  readonly instructions: Instruction[];
  readonly type: ProgramType;
  /** Its functions have types, and these are global. */
  readonly globals?: Declarations;
}

/** Programs of one kind, and which part of them both accept at least. */
interface Kind {
  readonly what: string;
  readonly count: number;
  readonly write: (random: Random, number: number) => Made;
  readonly accepted: number;
  readonly acceptedMutants: number;
  /**
   * Of a number that a callback changes the kernel may know nothing where we have followed it: what only
   * we accept so must run without breaking a rule, and is rare.
   */
  readonly callbacks?: true;
}

const kinds: readonly Kind[] = [
  {
    what: "programs",
    count: 2000,
    write: (random, number) => {
      const type = number % 4 === 3 ? "socket" : "xdp";
      return { type, instructions: randomProgram(random, type) };
    },
    accepted: 1 / 2,
    acceptedMutants: 1 / 6,
  },
  {
    what: "programs with callbacks",
    callbacks: true,
    count: 200,
    write: (random) => ({
      type: "xdp",
      instructions: assembled(randomCallbacks(random)),
      globals: new Map(),
    }),
    accepted: 1 / 2,
    acceptedMutants: 1 / 6,
  },
  {
    what: "programs that count in callbacks",
    callbacks: true,
    count: 40,
    write: (random) => ({
      type: "xdp",
      instructions: assembled(randomCounting(random)),
      globals: new Map(),
    }),
    accepted: 1 / 10,
    acceptedMutants: 1 / 20,
  },
  {
    what: "programs of global functions",
    count: 600,
    write: (random) => ({ type: "xdp", ...randomGlobals(random, { likeLinux: true }) }),
    accepted: 1 / 4,
    acceptedMutants: 1 / 12,
  },
];

type Asked = VerifiableProgram | TypedProgram;

function fuzzPrograms(kind: Kind, seed: number, count: number, mutate: boolean): Asked[] {
  const random = new Random(seed);
  const maps = fuzzMapSpecs.map((spec) => ({ ...spec, flags: 0, readOnly: false }));
  const programs: Asked[] = [];
  while (programs.length < count) {
    const made = kind.write(random, programs.length);
    const instructions = mutate ? mutated(random, made.instructions) : made.instructions;
    if (instructions === undefined) continue;
    const { type, globals } = made;
    const names = { object: "fuzz", name: "fuzz", functions: [], lines: [] };
    const program = { ...names, type, instructions, maps };
    programs.push(globals === undefined ? program : typed(program, globals));
  }
  return programs;
}

/** WEIR_FUZZ_PROGRAMS and WEIR_FUZZ_SEED ask for other programs, and more than CI has time for. */
const asked = process.env.WEIR_FUZZ_PROGRAMS;
const seedOffset = Number(process.env.WEIR_FUZZ_SEED ?? 0);
const longRunMs = 3_600_000;

/** A program of a million instructions takes the kernel seconds. */
const limitMs = 500;

function report(what: string, count: number, comparison: Comparison): void {
  if (asked === undefined) return;
  const { bothAccept, followedFurther, undecided, onlyKernelRefuses, onlyWeRefuse } = comparison;
  console.log(
    `${count} ${what}: both accept ${bothAccept}, only the kernel does ${onlyWeRefuse.length}, only we ${onlyKernelRefuses.length} and ${followedFurther} that we followed further, undecided ${undecided}\n${onlyWeRefuse.join("\n")}`,
  );
}

/** Runs of a program that only we accept. */
const checkedRuns = 200;

interface Comparison {
  readonly followedFurther: number;
  readonly bothAccept: number;
  readonly undecided: number;
  /** Programs that only the kernel refuses, and that only we refuse, but for those listed above. */
  readonly onlyKernelRefuses: readonly string[];
  readonly onlyWeRefuse: readonly string[];
}

function compare(kind: Kind, programs: readonly Asked[]): Comparison {
  const answers = kernelVerdicts(programs, { limitMs });
  let bothAccept = 0;
  let undecidedCount = 0;
  let followedFurther = 0;
  const onlyKernelRefuses: string[] = [];
  const onlyWeRefuse: string[] = [];
  for (const [i, program] of programs.entries()) {
    const { accepted, undecided, log } = answers[i]!;
    if (undecided) {
      undecidedCount++;
      continue;
    }
    const ours = verify(program, helpers, { maxVisited: 50_000 });
    if (accepted && ours.ok) bothAccept++;
    else if (ours.ok && !knownlyAccepted.some(([known]) => known.test(log))) {
      const mayDiffer = kind.callbacks === true || comparesWithItself(program);
      const broken = mayDiffer ? brokenRule(program, checkedRuns) : "not run";
      if (broken === undefined) followedFurther++;
      else onlyKernelRefuses.push(`${broken}: ${log}\n${disassembleProgram(program.instructions)}`);
    } else if (
      accepted &&
      !ours.ok &&
      !knownlyRefused.some(([known]) => known.test(ours.error.message))
    )
      onlyWeRefuse.push(`${ours.error.message}\n${disassembleProgram(program.instructions)}`);
  }
  return {
    bothAccept,
    followedFurther,
    undecided: undecidedCount,
    onlyKernelRefuses,
    onlyWeRefuse,
  };
}

for (const kind of kinds) {
  test(
    `random ${kind.what} that keep the rules, or nearly, get the kernel's verdict`,
    () => {
      const count = Number(asked ?? kind.count);
      const comparison = compare(kind, fuzzPrograms(kind, 11 + seedOffset, count, false));
      const { bothAccept, followedFurther, onlyKernelRefuses, onlyWeRefuse } = comparison;
      report(kind.what, count, comparison);
      expect(onlyKernelRefuses).toEqual([]);
      expect(followedFurther).toBeLessThanOrEqual(count / 50);
      if (asked === undefined) expect(onlyWeRefuse).toEqual([]);
      expect(bothAccept).toBeGreaterThan(count * kind.accepted);
    },
    longRunMs,
  );

  test(
    `random ${kind.what} with changed bits are accepted only where the kernel accepts them`,
    () => {
      const count = Number(asked ?? kind.count * 1.5);
      const comparison = compare(kind, fuzzPrograms(kind, 12 + seedOffset, count, true));
      const { bothAccept, followedFurther, onlyKernelRefuses, onlyWeRefuse } = comparison;
      report(`${kind.what} with changed bits`, count, comparison);
      expect(onlyKernelRefuses).toEqual([]);
      expect(followedFurther).toBeLessThanOrEqual(count / 50);
      // Each is a loss for somebody, and none a danger; more than these would be a change for the worse.
      expect(onlyWeRefuse.length, onlyWeRefuse.join("\n")).toBeLessThanOrEqual(count / 1000);
      expect(bothAccept).toBeGreaterThan(count * kind.acceptedMutants);
    },
    longRunMs,
  );
}

/** Then there is a way that no run takes, which the kernel follows. */
function comparesWithItself({ instructions }: VerifiableProgram): boolean {
  return instructions.some(
    (one) => one.kind === "branch" && one.op !== "set" && registerOf(one.src) === one.dst,
  );
}

/** A program of an object, as the verifier takes it. */
function verifiable(object: ObjectSpec, program: ProgramSpec): VerifiableProgram {
  const made = verifiableProgram(program, object.maps, program.type, { object });
  if (!made.ok) throw made.error;
  return made.value;
}

function load(path: string): ObjectSpec | undefined {
  const object = loadObject(new Uint8Array(readFileSync(path)), basename(path));
  return object.ok ? object.value : undefined;
}

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
for (const file of readdirSync(filters).filter((name) => name.endsWith(".o")))
  vitestTest(`every program of filters/${file} is accepted`, () => {
    const object = load(join(filters, file));
    expect(object?.programs.length).toBeGreaterThan(0);
    for (const program of object?.programs ?? []) {
      const verdict = verify(verifiable(object!, program), helpers);
      expect(verdict.ok ? "accepted" : verdict.error.message).toBe("accepted");
    }
  });

/** Debian's, in libxdp1 and xdp-tools. */
const debianFolders = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(
  (name) => `/usr/lib/${name}/bpf`,
);
const debianFolder = debianFolders.find((path) => existsSync(path));
vitestTest.skipIf(debianFolder === undefined)(
  `Debian's XDP objects are accepted${debianFolder === undefined ? " [skipped: needs libxdp1, xdp-tools]" : ""}`,
  () => {
    let accepted = 0;
    for (const file of readdirSync(debianFolder!)) {
      const object = load(join(debianFolder!, file));
      if (object === undefined) throw new Error(`${file} does not load`);
      for (const program of object.programs) {
        // Programs that attach to the kernel's functions see no packets: they have no type here.
        if (/^f(entry|exit)\//.test(program.section)) {
          expect(file).toBe("xdpdump_bpf.o");
          continue;
        }
        const verdict = verify(verifiable(object, program), helpers);
        expect(verdict.ok ? "accepted" : verdict.error.message).toBe("accepted");
        accepted++;
      }
    }
    expect(accepted).toBeGreaterThan(5);
  },
);

const conformance = corpus("bpf_conformance/kernel.expected");
vitestTest.skipIf(conformance === undefined)(
  `every conformance program that the kernel accepts is accepted as raw, and no other${conformance === undefined ? " [skipped: needs the bpf_conformance corpus]" : ""}`,
  () => {
    const cases = JSON.parse(readFileSync(conformance!, "utf8")) as {
      file: string;
      insns: string;
      mem: string;
      kernel_6_18: number | "reject";
    }[];
    expect(cases.length).toBeGreaterThan(200);
    for (const { file, insns, mem, kernel_6_18 } of cases) {
      const decoded = decodeProgram(parseHex(insns) as Uint8Array);
      if (!decoded.ok) throw decoded.error;
      const verdict = verify(
        {
          object: file,
          name: file,
          type: "raw",
          instructions: decoded.value,
          maps: [],
          functions: [],
          lines: [],
          dataBytes: mem.length / 2,
        },
        helpers,
      );
      const callx = decoded.value.some((one) => one.kind === "call_register");
      // A helper called by a number in a register that is known: safe, and the suite asks for it.
      const expected = kernel_6_18 !== "reject" || callx;
      expect({ file, accepted: verdict.ok }, verdict.ok ? "" : verdict.error.message).toEqual({
        file,
        accepted: expected,
      });
    }
  },
);

for (const [i, { name, accepted, code, onlyKernel }] of cPrograms.entries())
  needing(
    "clang",
    "bpftool",
    "kernel bpf()",
  )(
    `kernel and verifier ${onlyKernel === undefined ? "agree on" : "differ knowingly about"} ${name}`,
    () => {
      const object = join(folder, `program${i}.o`);
      const include = `/usr/include/${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu`;
      const built = spawnSync(
        "clang",
        ["-O2", "-g", "-target", "bpf", "-I", include, "-x", "c", "-c", "-", "-o", object],
        { input: `${preamble}${code}` },
      );
      if (built.status !== 0) throw new Error(String(built.stderr));
      const spec = load(object)!;
      const verdict = verify(verifiable(spec, spec.programs[0]!), helpers);
      expect(verdict.ok, verdict.ok ? "" : verdict.error.message).toBe(accepted);
      if (!verdict.ok) expect(verdict.error.source?.line).toBeGreaterThan(0);
      const pin = `/sys/fs/bpf/weir-verifier-test-${process.pid}-${i}`;
      const loaded = spawnSync("bpftool", ["prog", "load", object, pin], {
        encoding: "utf8",
        maxBuffer: 1 << 28,
      });
      if (loaded.status === 0) rmSync(pin);
      const log = loaded.stderr.slice(-2000);
      expect(loaded.status === 0, log).toBe(onlyKernel !== undefined || accepted);
    },
  );

const socketKinds = [
  { kind: "a socket in any state", helper: "" },
  { kind: "a full socket", helper: "call 95" },
  { kind: "a TCP socket", helper: "call 96" },
] as const;

for (const { kind, helper } of socketKinds)
  test(`each field of ${kind} is read as the kernel allows it`, () => {
    const cases = [-4, ...Array(120).keys()].flatMap((offset) =>
      ["u8", "u16", "u32", "u64", "s8", "s16", "s32"].map((size) => {
        const get = helper === "" ? "r0 = r2" : `r1 = r2\n${helper}\nif r0 == 0 goto l`;
        const load = `*(${size} *)(r0 ${offset < 0 ? "-" : "+"} ${Math.abs(offset)})`;
        const text = `r2 = *(u64 *)(r1 + 168)\nif r2 == 0 goto l\n${get}\nr1 = ${load}\nl: r0 = 0\nexit`;
        return { load, program: programOf(text, "tc") };
      }),
    );
    const answers = kernelVerdicts(cases.map(({ program }) => program));
    const kernels = cases.filter((_, i) => answers[i]!.accepted).map(({ load }) => load);
    const ours = cases.filter(({ program }) => verify(program, helpers).ok);
    expect(ours.map(({ load }) => load)).toEqual(kernels);
    expect(ours.length).toBeGreaterThan(10);
  });

import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { ByteWriter } from "../../src/engine/jit/byte-writer.ts";
import type { FunctionBuilder } from "../../src/engine/jit/function-builder.ts";
import { ModuleBuilder } from "../../src/engine/jit/module-builder.ts";
import { I32, I64, i32, i64, V128, v128 } from "../../src/engine/jit/wasm-operation.ts";

/** A module with one exported function, and a memory if it touches any. */
function moduleOf(
  parameters: readonly (typeof I32 | typeof I64)[],
  results: readonly (typeof I32 | typeof I64)[],
  write: (code: FunctionBuilder) => void,
): Uint8Array {
  const module = new ModuleBuilder();
  module.importSharedMemory("env", "memory");
  const reference = module.declare(parameters, results);
  module.export("f", reference);
  write(module.define(reference));
  return module.finish();
}

function functionOf(...args: Parameters<typeof moduleOf>): (...args: unknown[]) => unknown {
  const bytes = moduleOf(...args);
  expect(WebAssembly.validate(bytes)).toBe(true);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return exports.f as (...args: unknown[]) => unknown;
}

test.each([
  [0, "00"],
  [127, "7f"],
  [128, "8001"],
  [624485, "e58e26"],
  [0xffff_ffff, "ffffffff0f"],
])("an unsigned %d is LEB128 %s", (value, hex) => {
  const writer = new ByteWriter();
  writer.unsigned(value);
  expect(toHex(writer.bytes)).toBe(hex);
});

test.each([
  [0, "00"],
  [63, "3f"],
  [64, "c000"],
  [-1, "7f"],
  [-64, "40"],
  [-65, "bf7f"],
  [-123456, "c0bb78"],
  [0x7fff_ffff, "ffffffff07"],
  [-0x8000_0000, "8080808078"],
])("a signed %d is LEB128 %s, as 32 bits and as 64", (value, hex) => {
  const [narrow, wide] = [new ByteWriter(), new ByteWriter()];
  narrow.signed(value);
  wide.signed64(BigInt(value));
  expect([toHex(narrow.bytes), toHex(wide.bytes)]).toEqual([hex, hex]);
});

test("a 64-bit number is the same whether it is given signed or unsigned", () => {
  const [signed, unsigned] = [new ByteWriter(), new ByteWriter()];
  signed.signed64(-2n);
  unsigned.signed64(2n ** 64n - 2n);
  expect(toHex(signed.bytes)).toBe(toHex(unsigned.bytes));
});

test.each([-1, 2 ** 32, 1.5, Number.NaN])("%d is no unsigned 32-bit integer", (value) => {
  expect(() => new ByteWriter().unsigned(value)).toThrow(RangeError);
});

test.each([2 ** 31, -(2 ** 31) - 1, 0.5])("%d is no signed 32-bit integer", (value) => {
  expect(() => new ByteWriter().signed(value)).toThrow(RangeError);
});

test("a function with locals, a loop and an if computes what it says", () => {
  const factorial = functionOf([I32], [I64], (code) => {
    const product = code.local(I64);
    code.i64(1);
    code.set(product);
    const done = code.block();
    const again = code.loop();
    code.get(0);
    code.emit(i32.eqz);
    code.brIf(done);
    code.get(product);
    code.get(0);
    code.emit(i64.extend_u);
    code.emit(i64.mul);
    code.set(product);
    code.get(0);
    code.i32(1);
    code.emit(i32.sub);
    code.set(0);
    code.br(again);
    code.end();
    code.end();
    code.get(product);
    code.i64(100);
    code.emit(i64.gt_u);
    code.if(I64);
    code.i64(-1);
    code.else();
    code.get(product);
    code.end();
  });
  expect(factorial(4)).toBe(24n);
  expect(factorial(5)).toBe(-1n);
});

test("a table goes to the label of its number, and to the last for any other", () => {
  const choose = functionOf([I32], [I32], (code) => {
    const outer = code.block();
    const inner = code.block();
    code.get(0);
    code.brTable([inner, outer]);
    code.end();
    code.i32(10);
    code.return();
    code.end();
    code.i32(20);
  });
  expect([choose(0), choose(1), choose(7), choose(-1)]).toEqual([10, 20, 20, 20]);
});

test("vectors, atomics and functions with several results are valid", () => {
  const module = new ModuleBuilder();
  module.importSharedMemory("env", "memory");
  const pair = module.declare([], [I64, I64]);
  const sum = module.declare([], [I64]);
  const two = module.define(pair);
  two.i64(40);
  two.i64(2n);
  const code = module.define(sum);
  const zero = code.local(V128);
  code.i32(0);
  code.get(zero);
  code.access(v128.store, 16);
  code.i32(0);
  code.i64(5);
  code.access(i64.rmw.add, 8);
  code.drop();
  code.call(pair);
  code.emit(i64.add);
  expect(WebAssembly.validate(module.finish())).toBe(true);
});

const mistakes: readonly (readonly [string, (code: FunctionBuilder) => void, RegExp])[] = [
  ["an operand too few", (code) => code.emit(i32.add), /operand is missing/],
  [
    "an operand of the wrong type",
    (code) => {
      code.i32(1);
      code.i64(1);
      code.emit(i32.add);
    },
    /type 0x7e, not 0x7f/,
  ],
  [
    "an operand left in a block",
    (code) => {
      code.block();
      code.i32(1);
      code.end();
    },
    /leaves 1 operands/,
  ],
  [
    "an operand left at the end",
    (code) => {
      code.i32(1);
      code.i32(1);
      code.finish();
    },
    /1 operands are left/,
  ],
  ["no result at the end", (code) => code.finish(), /operand is missing/],
  [
    "an operand of the block around",
    (code) => {
      code.i32(1);
      code.block();
      code.drop();
    },
    /operand is missing/,
  ],
  [
    "a block that stays open",
    (code) => {
      code.block();
      code.finish();
    },
    /1 blocks are open/,
  ],
  ["an end without a block", (code) => code.end(), /end without a block/],
  ["an else without an if", (code) => code.else(), /else in a function/],
  [
    "a second else",
    (code) => {
      code.i32(1);
      code.if();
      code.else();
      code.else();
    },
    /else in a if/,
  ],
  [
    "an if with a result and no else",
    (code) => {
      code.i32(1);
      code.if(I32);
      code.i32(1);
      code.end();
    },
    /no else/,
  ],
  [
    "a branch to a block that has ended",
    (code) => {
      const label = code.block();
      code.end();
      code.block();
      code.br(label);
    },
    /not open/,
  ],
  ["a local that is not there", (code) => code.get(3), /no local 3/],
  [
    "a block where nothing arrives",
    (code) => {
      code.unreachable();
      code.block();
    },
    /nothing arrives/,
  ],
];

test.each(mistakes)("the emitter refuses %s", (_, write, message) => {
  expect(() => moduleOf([], [I32], write)).toThrow(message);
});

test("what stays of an operand that was set where nothing arrives has the local's type", () => {
  const bytes = moduleOf([], [I32], (code) => {
    code.unreachable();
    code.tee(code.local(I64));
    code.emit(i64.eqz);
  });
  expect(WebAssembly.validate(bytes)).toBe(true);
});

test("a function that was declared must be given a body, once", () => {
  const module = new ModuleBuilder();
  const reference = module.declare([], []);
  expect(() => module.finish()).toThrow(/no body/);
  module.define(reference);
  expect(() => module.define(reference)).toThrow(/already defined/);
  expect(() => module.importFunction("a", "b", [], [])).toThrow(/after a function/);
});

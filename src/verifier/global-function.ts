import type { Instruction } from "../isa/instruction.ts";
import type { Btf, BtfType } from "../object/btf.ts";
import { reachableSlots } from "./control-flow.ts";
import type { HelperSignature } from "./helper-signature.ts";
import type { VerifiableProgram } from "./program.ts";

/** A parameter of a global function, as its BTF type says. */
export type FunctionParameter =
  | { readonly kind: "number" }
  | { readonly kind: "context" }
  /** `nullable`: it may be null, and the function must look. */
  | {
      readonly kind: "memory";
      readonly bytes: number;
      readonly nullable: boolean;
      /** It is declared as the context of programs of another type: `__sk_buff` in an XDP program. */
      readonly contextOfOthers?: string;
    }
  | { readonly kind: "unsupported"; readonly type: string };

/**
 * A function that is verified on its own, for all arguments its type allows: a call of it asks only
 * that the arguments are such. Functions without BTF, and static ones, are followed from each call.
 */
export interface GlobalFunction {
  readonly name: string;
  readonly slot: number;
  readonly parameters: readonly FunctionParameter[];
  readonly returnsNumber: boolean;
  /** It, or what it calls or tail-calls, may move the packet. */
  readonly movesPacket: boolean;
  /** It, or what it calls, may make a tail call. */
  readonly tailCalls: boolean;
}

/** The program's global functions, by their first slot. */
export function globalFunctions(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
): ReadonlyMap<number, GlobalFunction> {
  const found = new Map<number, GlobalFunction>();
  const { btf } = program;
  if (btf === undefined) return found;
  const tags = argumentTags(btf);
  for (const { name, slot, type } of program.functions) {
    const declared = type === undefined ? undefined : btf.types[type];
    if (slot === 0 || declared?.kind !== "function" || declared.linkage !== "global") continue;
    const prototype = btf.types[declared.type];
    if (prototype?.kind !== "prototype") continue;
    const called = [...helpersCalled(program.instructions, slot, helpers)];
    const tailCalls = called.some((helper) => helper.tailCall === true);
    found.set(slot, {
      name,
      slot,
      parameters: prototype.parameters.map((one, i) =>
        parameterOf(btf, one.type, tags.get(type as number)?.get(i) ?? [], program),
      ),
      returnsNumber: isNumber(resolve(btf, prototype.returns)),
      movesPacket: tailCalls || called.some((helper) => helper.movesPacket === true),
      tailCalls,
    });
  }
  return found;
}

/** Whether BTF says that the function at this slot returns a number. */
export function returnsNumber({ btf, functions }: VerifiableProgram, entry: number): boolean {
  const type = functions.find(({ slot }) => slot === entry)?.type;
  const declared = type === undefined ? undefined : btf?.types[type];
  const prototype = declared?.kind === "function" ? btf?.types[declared.type] : undefined;
  return (
    btf !== undefined &&
    prototype?.kind === "prototype" &&
    isNumber(resolve(btf, prototype.returns))
  );
}

/** A BTF type through typedefs and qualifiers. Chains are bounded: hostile BTF may be a ring. */
export function resolve(btf: Btf, type: number): BtfType | undefined {
  let found = btf.types[type];
  for (let i = 0; i < 64 && found !== undefined; i++) {
    switch (found.kind) {
      case "typedef":
      case "const":
      case "volatile":
      case "restrict":
      case "type_tag":
        found = btf.types[found.type];
        break;
      default:
        return found;
    }
  }
  return undefined;
}

function isNumber(type: BtfType | undefined): boolean {
  return type?.kind === "int" || type?.kind === "enum";
}

/** The struct that programs of a type are given, by its name in C. */
export const contextNames: Partial<Record<VerifiableProgram["type"], string>> = {
  xdp: "xdp_md",
  socket: "__sk_buff",
  tc: "__sk_buff",
  tcx: "__sk_buff",
  action: "__sk_buff",
  cgroup_skb: "__sk_buff",
};

/**
 * What tags say of functions' parameters, without their `arg:`, by function and parameter: libbpf's
 * `__arg_ctx` and its like. Kernel: btf_prepare_func_args.
 */
function argumentTags(btf: Btf): ReadonlyMap<number, ReadonlyMap<number, readonly string[]>> {
  const byFunction = new Map<number, Map<number, string[]>>();
  for (const type of btf.types) {
    if (type.kind !== "decl_tag" || !type.name.startsWith("arg:")) continue;
    const byParameter = byFunction.get(type.type) ?? new Map<number, string[]>();
    byFunction.set(type.type, byParameter);
    const tags = byParameter.get(type.component) ?? [];
    byParameter.set(type.component, tags);
    tags.push(type.name.slice("arg:".length));
  }
  return byFunction;
}

function parameterOf(
  btf: Btf,
  type: number,
  tags: readonly string[],
  program: VerifiableProgram,
): FunctionParameter {
  const found = resolve(btf, type);
  const tagged = tags.map((tag) => ` tagged arg:${tag}`).join(" and");
  if (isNumber(found) && tags.length === 0) return { kind: "number" };
  if (found?.kind !== "pointer")
    return { kind: "unsupported", type: `${found?.kind ?? "unknown"}${tagged}` };
  const pointee = resolve(btf, found.type);
  const isContext = pointee?.kind === "struct" && pointee.name === contextNames[program.type];
  const asContext = tags.length === 1 && tags[0] === "ctx" && pointee?.kind === "void";
  if ((isContext && tags.every((tag) => tag === "ctx")) || asContext) return { kind: "context" };
  const known = tags.every((tag) => tag === "nonnull" || tag === "nullable");
  if (isContext || !known)
    return { kind: "unsupported", type: `pointer to ${pointee?.kind ?? "unknown"}${tagged}` };
  const bytes = pointee === undefined ? undefined : sizeOf(btf, pointee, 0);
  if (bytes === undefined)
    return { kind: "unsupported", type: `pointer to ${pointee?.kind ?? "unknown"}` };
  const memory = { kind: "memory", bytes, nullable: !tags.includes("nonnull") } as const;
  const isOthers = pointee?.kind === "struct" && Object.values(contextNames).includes(pointee.name);
  return isOthers ? { ...memory, contextOfOthers: pointee.name } : memory;
}

function sizeOf(btf: Btf, type: BtfType, depth: number): number | undefined {
  if (depth > 16) return undefined;
  switch (type.kind) {
    case "int":
    case "enum":
    case "struct":
    case "union":
    case "float":
      return type.size;
    case "pointer":
      return 8;
    case "array": {
      const element = resolve(btf, type.type);
      const size = element === undefined ? undefined : sizeOf(btf, element, depth + 1);
      return size === undefined ? undefined : size * type.length;
    }
    default:
      return undefined;
  }
}

/** The helpers that a function and those it calls may call, on some path or other. */
function helpersCalled(
  instructions: readonly Instruction[],
  entry: number,
  helpers: ReadonlyMap<number, HelperSignature>,
): ReadonlySet<HelperSignature> {
  const called = new Set<HelperSignature>();
  for (const slot of reachableSlots(instructions, entry)) {
    const instruction = instructions[slot] as Instruction;
    const helper = instruction.kind === "call_helper" ? helpers.get(instruction.id) : undefined;
    if (helper !== undefined) called.add(helper);
  }
  return called;
}

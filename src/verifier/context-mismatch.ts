import { contextAccessOf } from "./context-rules.ts";
import { resolve } from "./global-function.ts";
import type { VerifiableProgram } from "./program.ts";
import type { Rejection } from "./rejection.ts";

/** Causes behind which there may be a context of another kind than the program was written for. */
const suspects: readonly string[] = [
  "CONTEXT_ACCESS",
  "HELPER_ARGUMENT",
  "NOT_A_POINTER",
  "PACKET_BOUNDS",
  "POINTER_ARITHMETIC",
  "PROGRAM_HELPER_NOT_ALLOWED",
];

/** Sections of programs that are given the struct. */
const sectionsFor: Readonly<Record<string, string>> = {
  xdp_md: 'SEC("xdp")',
  __sk_buff: 'SEC("tc"), SEC("socket") or SEC("cgroup_skb/ingress")',
};

/**
 * Adds to a refusal, where a program was written for one context and its type gives it another: it
 * stands in the wrong section, and all else follows from that.
 */
export function tellContextMismatch(
  program: VerifiableProgram,
  { code, cause, fix }: Pick<Rejection, "code" | "cause" | "fix">,
): Pick<Rejection, "cause" | "fix"> {
  const given = contextAccessOf(program.type)?.name;
  const taken = argumentStruct(program);
  const sections = sectionsFor[taken ?? ""];
  if (!suspects.includes(code) || given === undefined || sections === undefined || taken === given)
    return { cause, fix };
  return {
    cause: `${cause}; the program takes a struct ${taken}, and programs of type ${program.type} are given a struct ${given}`,
    fix: `put it into a section for what it takes: ${sections}`,
  };
}

/** The struct that BTF says the program's one parameter points to. */
function argumentStruct({ btf, functions }: VerifiableProgram): string | undefined {
  const type = functions.find(({ slot }) => slot === 0)?.type;
  const declared = type === undefined ? undefined : btf?.types[type];
  const prototype = declared?.kind === "function" ? btf?.types[declared.type] : undefined;
  if (btf === undefined || prototype?.kind !== "prototype") return undefined;
  const parameter = resolve(btf, prototype.parameters[0]?.type ?? 0);
  const pointee = parameter?.kind === "pointer" ? resolve(btf, parameter.type) : undefined;
  return pointee?.kind === "struct" ? pointee.name : undefined;
}

import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { decodeProgram } from "../isa/codec.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapSpec, ObjectSpec, ProgramSpec, ProgramType } from "../object/object-spec.ts";
import { belongsElsewhere, isCgroupEgress, isOnDevmap } from "../object/section-type.ts";
import type { VerifiableProgram, VerifiedMap } from "../verifier/program.ts";
import { rejectionError } from "../verifier/rejection.ts";
import { forbiddenInstruction } from "../verifier/structure.ts";
import type { Verified } from "../verifier/verified.ts";
import { verify } from "../verifier/verify.ts";
import type { LinkedProgram } from "./engine.ts";
import { helpers } from "./helpers/helper-table.ts";

/** What a program is verified with, beside its own bytes. */
export interface LinkSource {
  /** Where the program is one of an object's; its globals are set, since their values are believed. */
  readonly object?: Pick<ObjectSpec, "file" | "maps" | "btf"> | undefined;
  /** Of a `raw` program: bytes of the data that it will be run on, no more and no less. */
  readonly dataBytes?: number | undefined;
}

/**
 * Binds a program to maps (in the order of its object's maps) and proves that it may run: the only
 * way to a `LinkedProgram` outside of tests. `type` stands in for what its section says.
 */
export function linkProgram(
  spec: ProgramSpec,
  maps: readonly MapHandle[],
  type: ProgramType | undefined = spec.type,
  source: LinkSource = {},
): Result<LinkedProgram, UserError> {
  const decoded = verifiableProgram(spec, maps, type, source);
  if (!decoded.ok) return decoded;
  const program = decoded.value;
  const proof = verify(program, helpers);
  if (!proof.ok) return err(rejectionError(proof.error));
  const linked: LinkedProgram = {
    name: spec.name,
    type: program.type,
    instructions: withoutForbidden(program, proof.value),
    maps,
    verified: true,
    proof: proof.value,
    ...(program.onDevmap === true && { onDevmap: true }),
  };
  return ok(program.type === "raw" ? { ...linked, dataBytes: program.dataBytes ?? 0 } : linked);
}

/** A program as the verifier takes it, or why it is none that engines here could run: with the object's name. */
export function verifiableProgram(
  spec: ProgramSpec,
  maps: readonly (MapHandle | MapSpec)[],
  type: ProgramType | undefined = spec.type,
  { object, dataBytes }: LinkSource = {},
): Result<VerifiableProgram, UserError> {
  if (spec.fault !== undefined) return err(spec.fault);
  // A program that came alone has no other name, and no section that somebody wrote.
  const isAlone = object === undefined || object.file === spec.name;
  const { section } = spec;
  const named = isAlone ? `program ${spec.name}` : `${object.file}, program ${spec.name}`;
  const where = isAlone ? named : `${named}, section ${JSON.stringify(section)}`;
  if (type === undefined)
    return err(
      new UserError(
        "PROGRAM_TYPE_UNKNOWN",
        named,
        belongsElsewhere(section)
          ? `programs of section "${section}" attach to the kernel, and see no packets of a proxy`
          : `section "${section}" does not tell the program's type`,
        belongsElsewhere(section)
          ? "programs of types xdp, tc, socket and cgroup_skb run here: name another program"
          : 'use a section such as "xdp", "tc" or "socket"; weir verify and weir prog run also take --type',
      ),
    );
  const decoded = decodeSpec(spec, where);
  if (!decoded.ok) return decoded;
  const { name, functions, lines, unanswered } = spec;
  return ok({
    object: object?.file ?? name,
    name,
    ...(isAlone ? {} : { section }),
    type,
    egress: type === "cgroup_skb" && isCgroupEgress(section),
    onDevmap: type === "xdp" && isOnDevmap(section),
    instructions: decoded.value,
    maps: maps.map((map, i) => withFrozenValue(map, object?.maps[i])),
    functions,
    btf: object?.btf,
    lines,
    unanswered,
    ...(dataBytes === undefined ? {} : { dataBytes }),
  });
}

/** The instructions of a program from an object; `where` names the two in what is wrong with it. */
export function decodeSpec(
  { bytecode, fault }: ProgramSpec,
  where: string,
): Result<Instruction[], UserError> {
  if (fault !== undefined) return err(fault);
  const decoded = decodeProgram(bytecode);
  if (decoded.ok) return decoded;
  const { code, where: at, what, fix } = decoded.error;
  return err(new UserError(code, at === "program" ? where : `${where}, ${at}`, what, fix));
}

/** Nobody writes `.rodata` once the program is loaded: what it holds now is what programs will read. */
function withFrozenValue(map: VerifiedMap, spec: MapSpec | undefined): VerifiedMap {
  if (spec === undefined || !spec.readOnly || spec.dataSection === undefined) return map;
  return { ...map, frozenValue: spec.contents[0]?.value ?? new Uint8Array(spec.valueSize) };
}

/**
 * A program may hold what its type is not allowed where no path comes: often it is behind a test of
 * a constant, and the kernel removes it. Engines have no such instruction to translate, so an exit
 * takes its place.
 */
function withoutForbidden(
  { type, instructions }: VerifiableProgram,
  { reached }: Verified,
): readonly Instruction[] {
  return instructions.map((instruction, slot) => {
    if (reached[slot] === 1 || instruction.kind === "second_slot") return instruction;
    return forbiddenInstruction(type, instruction, helpers) === undefined ? instruction : exit;
  });
}

const exit: Instruction = { kind: "exit" };

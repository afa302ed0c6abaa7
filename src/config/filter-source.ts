import { compileExpression } from "../cbpf/compile-expression.ts";
import { parseListing } from "../cbpf/parse-listing.ts";
import { maxChainedHeaders, translateClassic } from "../cbpf/translate.ts";
import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { assemble } from "../isa/assembler.ts";
import { encodeProgram } from "../isa/codec.ts";
import type { Instruction } from "../isa/instruction.ts";
import { maxObjectBytes } from "../object/elf.ts";
import { loadObject } from "../object/load-object.ts";
import type { ObjectSpec, ProgramType } from "../object/object-spec.ts";
import { sectionProgramType } from "../object/section-type.ts";
import type { KeyPath } from "./config-problem.ts";
import type { ProblemList } from "./problem-list.ts";
import { checkPath, fileAt, inFile, readBounded } from "./read-file.ts";
import type { ReadableFilter } from "./readable-parts.ts";

/**
 * The object a filter names; an expression or bytecode becomes an object of one program and no
 * maps. Undefined where there is none, which is then among the problems.
 */
export function readSource(
  filter: ReadableFilter,
  folder: string,
  path: KeyPath,
  problems: ProblemList,
): ObjectSpec | undefined {
  const [source, other] = filter.sources ?? [];
  if (source === undefined) {
    if (filter.sources !== undefined)
      problems.value(
        "CONFIG_VALUE",
        path,
        "the filter has no program",
        "add object: FILE, expression: TEXT or bytecode: TEXT",
      );
    return undefined;
  }
  if (other !== undefined) {
    problems.key(
      "CONFIG_CONFLICT",
      [...path, other],
      `a filter has one program, and this one has ${source} as well`,
      `remove ${source} or ${other}`,
    );
    return undefined;
  }
  const text = filter[source];
  if (text === undefined) return undefined;
  if (source === "object") return readObject(text, folder, path, problems);
  const program =
    source === "expression" ? expressionProgram(text) : bytecodeProgram(text, filter.section);
  if (program.ok) return program.value;
  for (const { where, what, fix } of program.error)
    problems.value("CONFIG_VALUE", [...path, source], `${where}: ${what}`, fix);
  return undefined;
}

function expressionProgram(text: string): Result<ObjectSpec, readonly UserError[]> {
  // As in a live capture of libpcap: what the frame does not hold (direction) is asked of Linux.
  const classic = compileExpression(text, {
    linkType: "EN10MB",
    linuxExtensions: true,
    maxChainedHeaders,
  });
  if (!classic.ok) return { ok: false, error: [classic.error] };
  const translated = translateClassic(classic.value, "expression");
  if (!translated.ok) return { ok: false, error: [translated.error] };
  return ok(singleProgram("expression", "socket", translated.value));
}

/** Classic BPF begins with its number of instructions, as `tcpdump -ddd` prints it; else assembly. */
function bytecodeProgram(
  text: string,
  section: string | undefined,
): Result<ObjectSpec, readonly UserError[]> {
  if (/^\s*\d+\s*[\n,]/.test(text)) {
    const classic = parseListing(text, "bytecode");
    if (!classic.ok) return { ok: false, error: [classic.error] };
    const translated = translateClassic(classic.value, "bytecode");
    if (!translated.ok) return { ok: false, error: [translated.error] };
    return ok(singleProgram("bytecode", section ?? "socket", translated.value));
  }
  const instructions = assemble(text, { file: "bytecode" });
  if (!instructions.ok) return instructions;
  return ok(singleProgram("bytecode", section ?? "xdp", instructions.value));
}

function singleProgram(
  name: string,
  section: string,
  instructions: readonly Instruction[],
): ObjectSpec {
  const type: ProgramType | undefined = sectionProgramType(section);
  const bytecode = encodeProgram(instructions);
  const functions = [{ name, slot: 0 }];
  return {
    file: name,
    license: "",
    programs: [{ name, section, type, bytecode, functions, lines: [] }],
    maps: [],
    variables: [],
    btf: undefined,
  };
}

function readObject(
  object: string,
  folder: string,
  path: KeyPath,
  problems: ProblemList,
): ObjectSpec | undefined {
  const file = fileAt(folder, object);
  const at = [...path, "object"];
  const bytes = readBounded(file, maxObjectBytes);
  if (!bytes.ok) {
    const { what, fix } = inFile(file, bytes.error);
    // The path is wrong, not the object.
    const told = fix === checkPath ? `${fix}, which is relative to the config file` : fix;
    problems.value("CONFIG_FILE", at, what, told);
    return undefined;
  }
  const spec = loadObject(bytes.value, file);
  if (spec.ok) return spec.value;
  problems.value("CONFIG_OBJECT", at, `${spec.error.where}: ${spec.error.what}`, spec.error.fix);
  return undefined;
}

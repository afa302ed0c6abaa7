import { UserError } from "../common/user-error.ts";
import { helpers } from "../engine/helpers/helper-table.ts";
import { verifiableProgram } from "../engine/link.ts";
import type { ObjectSpec, ProgramSpec, ProgramType } from "../object/object-spec.ts";
import type { VerifiableProgram } from "../verifier/program.ts";
import { formatRejection, type Rejection, rejectionError } from "../verifier/rejection.ts";
import type { Verified } from "../verifier/verified.ts";
import { verify as prove } from "../verifier/verify.ts";
import { readObject, readObjectFromInput } from "./read-object.ts";
import { type ExitCode, errorObject, errorText, exitCodes, type Terminal } from "./terminal.ts";
import { GatheredText } from "./whole-io.ts";

export interface VerifyOptions {
  /** Only this program of each object. */
  readonly program?: string;
  /** The programs' type, where the section's name does not tell it or tells another. */
  readonly type?: ProgramType;
  /** The verifier's trace before each verdict. */
  readonly log?: boolean;
  readonly json?: boolean;
}

/**
 * `weir verify`: the verifier's verdict on each program of each object, without running anything. A
 * refusal is told whole and does not keep the others from being looked at; it makes the exit code 1.
 */
export function verify(
  files: readonly string[],
  options: VerifyOptions,
  terminal: Terminal,
): ExitCode {
  // A log is hundreds of megabytes: what its reader has not taken must not gather here.
  const gathered = new GatheredText(terminal.outWhole ?? terminal.out);
  const output: Output = {
    out: (text) => gathered.add(text),
    error: (text) => {
      gathered.flush();
      terminal.error(text);
    },
  };
  const verdicts = files.flatMap((file) => {
    try {
      return verifyObject(file, options, output);
    } finally {
      gathered.flush();
    }
  });
  return verdicts.every(Boolean) ? exitCodes.done : exitCodes.failed;
}

type Output = Pick<Terminal, "out" | "error">;

/** Whether each of the object's programs is accepted; an object that cannot be used counts as one. */
function verifyObject(file: string, options: VerifyOptions, output: Output): boolean[] {
  const object = file === "-" ? readObjectFromInput() : readObject(file);
  if (!object.ok) return [refuse({ object: file }, object.error, options, output)];
  const { programs } = object.value;
  const chosen = programs.filter(({ name }) => name === (options.program ?? name));
  if (chosen.length > 0)
    return chosen.map((program) => verifyOne(object.value, program, options, output));
  const what =
    options.program === undefined ? "has no program" : `has no program "${options.program}"`;
  const names = programs.map(({ name }) => name).join(", ");
  const error = new UserError(
    "OBJECT_NO_PROGRAM",
    file,
    what,
    names === "" ? undefined : `it has ${names}`,
  );
  return [refuse({ object: file }, error, options, output)];
}

/** What a line of output is about. */
interface Subject {
  readonly object: string;
  readonly program?: string;
  /** The programs' type, where the section's name does not tell it or tells another. */
  readonly type?: ProgramType;
}

function verifyOne(
  object: ObjectSpec,
  spec: ProgramSpec,
  options: VerifyOptions,
  output: Output,
): boolean {
  const subject: Subject = { object: object.file, program: spec.name };
  const program = verifiableProgram(spec, object.maps, options.type ?? spec.type, { object });
  if (!program.ok) {
    return refuse(subject, program.error, options, output);
  }
  const log = (line: string): void =>
    output.out(
      options.json === true ? `${JSON.stringify({ ...subject, log: line })}\n` : `${line}\n`,
    );
  // The thread's own time: what else the machine does is no time of the verifier's.
  const before = process.threadCpuUsage();
  const verdict = prove(program.value, helpers, options.log === true ? { log } : {});
  const { user, system } = process.threadCpuUsage(before);
  const milliseconds = (user + system) / 1000;
  if (options.json === true) {
    const { type } = program.value;
    const rest = verdict.ok
      ? acceptedObject(program.value, verdict.value, milliseconds)
      : rejectedObject(verdict.error);
    output.out(`${JSON.stringify({ ...subject, type, accepted: verdict.ok, ...rest })}\n`);
  } else if (verdict.ok)
    output.out(`${acceptedText(subject, program.value, verdict.value, milliseconds)}\n`);
  else output.out(`${formatRejection(verdict.error)}\n`);
  return verdict.ok;
}

function acceptedText(
  { object, program }: Subject,
  { instructions }: VerifiableProgram,
  { visited, stackBytes }: Verified,
  milliseconds: number,
): string {
  const stack = [...stackBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  const functions = stackBytes.size > 1 ? ` in ${stackBytes.size} functions` : "";
  return `${object}: program ${program} is accepted: ${instructions.length} instructions, ${visited} visited, ${stack} bytes of stack${functions}, ${milliseconds.toFixed(1)} ms`;
}

function acceptedObject(
  { instructions }: VerifiableProgram,
  { visited, checkpoints, stackBytes }: Verified,
  milliseconds: number,
): object {
  const stack = [...stackBytes].map(([slot, bytes]) => ({ slot, bytes }));
  return {
    instructions: instructions.length,
    visited,
    states: checkpoints,
    stack,
    time_ms: Number(milliseconds.toFixed(3)),
  };
}

/** An error as all are, and the parts of what a person is told of a rejection. */
function rejectedObject(one: Rejection): object {
  const { code, where, what, fix } = rejectionError(one);
  const { slot, instruction, source, registers } = one;
  return { error: { code, where, what, fix, slot, instruction, source, registers } };
}

/** Tells of an object or program that the verifier does not even get. */
function refuse(subject: Subject, error: UserError, options: VerifyOptions, output: Output): false {
  output.error(`weir verify: ${errorText(error)}`);
  if (options.json === true)
    output.out(`${JSON.stringify({ ...subject, accepted: false, error: errorObject(error) })}\n`);
  return false;
}

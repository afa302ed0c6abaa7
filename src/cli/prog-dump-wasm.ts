import { existsSync } from "node:fs";
import { ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { Workbench } from "../filter/workbench.ts";
import type { ProgramType } from "../object/object-spec.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { referenceOf } from "./entry-words.ts";
import { liveProgram } from "./live-program.ts";
import type { Subject } from "./loose-program.ts";
import { objectSubject } from "./object-subject.ts";
import { isObjectWord } from "./object-word.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface ProgDumpWasmOptions extends ControlOptions {
  readonly program?: string;
  /** An object file, whose program the words name, if any; it may stand before them instead. */
  readonly object?: string;
}

const command = "prog dump wasm";

/**
 * `weir prog dump wasm`: the WebAssembly that the JIT makes of an object's program, or of a running
 * proxy's, as text. Of the latter it is made here, of the same instructions and what `.rodata` holds,
 * so that only the addresses of maps are others.
 */
export async function progDumpWasm(
  words: readonly string[],
  options: ProgDumpWasmOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const [first] = words;
  const isFirst = options.object === undefined && first !== undefined && isObjectWord(first);
  const object = options.object ?? (isFirst ? first : objectOf(words));
  if (object !== undefined) {
    const rest = object === options.object ? words : words.slice(1);
    const named = rest.length === 0 ? ok(options.program) : referenceOf(rest);
    if (!named.ok) return reportError(command, named.error, terminal);
    const subject = objectSubject(object, named.value, []);
    const text = subject.ok ? await wasmOf(subject.value, undefined) : subject;
    if (!text.ok) return reportError(command, text.error, terminal);
    terminal.out(`${text.value}\n`);
    return exitCodes.done;
  }
  if (options.program !== undefined)
    return reportError(
      command,
      new UserError("USAGE_PROGRAM", `--program ${options.program}`, "is for object files"),
      terminal,
    );
  return withControl(command, options, terminal, async (client) => {
    const live = await liveProgram(client, words);
    if (!live.ok) return live;
    const { program, loaded } = live.value;
    const { programs, maps } = loaded.object;
    const spec = programs.find(({ name }) => name === program.name)!;
    const text = await wasmOf(
      { program: spec, maps, object: loaded.object },
      program.type as ProgramType,
    );
    if (!text.ok) return text;
    terminal.out(`${text.value}\n`);
    return ok(undefined);
  });
}

/** The object file that words name: one word that is a path, or a file that exists. */
export function objectOf(words: readonly string[]): string | undefined {
  const [word = ""] = words;
  if (words.length !== 1) return undefined;
  return word.endsWith(".o") || existsSync(word) ? word : undefined;
}

async function wasmOf(
  { program, maps: specs, object }: Subject,
  type: ProgramType | undefined,
): Promise<Result<string, UserError>> {
  const workbench = await Workbench.create();
  if (!workbench.ok) return workbench;
  const maps = workbench.value.createMaps(specs);
  if (!maps.ok) return maps;
  return workbench.value.wasmText(program, maps.value, type, { object });
}

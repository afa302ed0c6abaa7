import { Workbench } from "../filter/workbench.ts";
import type { ProgramType } from "../object/object-spec.ts";
import { objectSubject } from "./object-subject.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface ProgDumpWasmOptions {
  readonly program?: string;
  readonly type?: ProgramType;
}

/** `weir prog dump wasm`: the WebAssembly that the JIT makes of an object's program, as text. */
export async function progDumpWasm(
  object: string,
  options: ProgDumpWasmOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const text = await wasmOf(object, options);
  if (text.ok) {
    terminal.out(`${text.value}\n`);
    return exitCodes.done;
  }
  terminal.error(`weir prog dump wasm: ${text.error.message}\n`);
  return text.error.code.startsWith("USAGE_") ? exitCodes.usage : exitCodes.failed;
}

async function wasmOf(object: string, { program, type }: ProgDumpWasmOptions) {
  const subject = objectSubject(object, program, []);
  if (!subject.ok) return subject;
  const workbench = await Workbench.create();
  if (!workbench.ok) return workbench;
  const maps = workbench.value.createMaps(subject.value.maps);
  if (!maps.ok) return maps;
  return workbench.value.wasmText(subject.value.program, maps.value, type);
}

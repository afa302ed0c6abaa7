import type { MapSpec, ObjectSpec, ProgramSpec } from "../object/object-spec.ts";

/** What is to run: a program and the maps it names by index. */
export interface Subject {
  readonly program: ProgramSpec;
  readonly maps: readonly MapSpec[];
  /** Where the program is one of an object's. */
  readonly object?: ObjectSpec;
}

/** A program that came without an object: no maps, no name of its own. */
export function looseProgram(name: string, bytecode: Uint8Array): Subject {
  const functions = [{ name, slot: 0 }];
  return {
    program: { name, section: "", type: undefined, bytecode, functions, lines: [] },
    maps: [],
  };
}

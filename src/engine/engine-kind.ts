/** What runs programs: compiled to WebAssembly, or the interpreter, which checks every access. */
export type EngineKind = "interpreter" | "jit";

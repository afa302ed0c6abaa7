import type { Assertion, Node, ParsedRegexp } from "./regexp-syntax.ts";

/** One step of a compiled pattern; those without a target go on to the next. */
export type Instruction =
  | { readonly kind: "character"; readonly accepts: (codePoint: number) => boolean }
  /** Both ways, `first` preferred. */
  | { readonly kind: "split"; readonly first: number; readonly otherwise: number }
  | { readonly kind: "jump"; readonly to: number }
  | { readonly kind: "save"; readonly side: "start" | "end" }
  | { readonly kind: "assert"; readonly assertion: Assertion }
  | { readonly kind: "match" };

/** With labels of at most some hundred characters this bounds one match to about 10⁵ steps. */
const maxInstructions = 1_000;

/** The pattern as a program, or undefined where it would be larger than 1,000 instructions. */
export function compileProgram(parsed: ParsedRegexp): readonly Instruction[] | undefined {
  if (size(parsed.root) + 1 > maxInstructions) return undefined;
  const out: Instruction[] = [];
  emit(parsed.root, out);
  out.push({ kind: "match" });
  return out;
}

/** Instructions that `emit` makes of a node. */
function size(node: Node): number {
  switch (node.kind) {
    case "empty":
      return 0;
    case "character":
    case "assert":
      return 1;
    case "sequence":
      return node.parts.reduce((sum, part) => sum + size(part), 0);
    case "either":
      return node.parts.reduce((sum, part) => sum + size(part) + 2, -2);
    case "group":
      return size(node.inner) + 2;
    case "repeat": {
      const one = size(node.inner);
      const optional = node.max === undefined ? one + 2 : (node.max - node.min) * (one + 1);
      return node.min * one + optional;
    }
  }
}

function emit(node: Node, out: Instruction[]): void {
  switch (node.kind) {
    case "empty":
      return;
    case "character":
      out.push({ kind: "character", accepts: node.accepts });
      return;
    case "assert":
      out.push({ kind: "assert", assertion: node.assertion });
      return;
    case "sequence":
      for (const part of node.parts) emit(part, out);
      return;
    case "group":
      out.push({ kind: "save", side: "start" });
      emit(node.inner, out);
      out.push({ kind: "save", side: "end" });
      return;
    case "either":
      emitEither(node.parts, out);
      return;
    case "repeat":
      for (let i = 0; i < node.min; i++) emit(node.inner, out);
      if (node.max === undefined) {
        const start = out.length;
        emitOptional(node.inner, node.greedy, out, () => out.push({ kind: "jump", to: start }));
      } else for (let i = node.min; i < node.max; i++) emitOptional(node.inner, node.greedy, out);
      return;
  }
}

function emitOptional(inner: Node, greedy: boolean, out: Instruction[], after?: () => void): void {
  const split = out.length;
  out.push({ kind: "match" });
  emit(inner, out);
  after?.();
  const [into, past] = [split + 1, out.length];
  out[split] = greedy
    ? { kind: "split", first: into, otherwise: past }
    : { kind: "split", first: past, otherwise: into };
}

function emitEither(parts: readonly Node[], out: Instruction[]): void {
  const jumps: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1) {
      emit(part, out);
      break;
    }
    const split = out.length;
    out.push({ kind: "match" });
    emit(part, out);
    jumps.push(out.length);
    out.push({ kind: "match" });
    out[split] = { kind: "split", first: split + 1, otherwise: out.length };
  }
  for (const jump of jumps) out[jump] = { kind: "jump", to: out.length };
}

/** Whether a position between characters is what an assertion asks for. */
export const assertions: Readonly<
  Record<Assertion, (characters: readonly string[], position: number) => boolean>
> = {
  start: (_, position) => position === 0,
  end: (characters, position) => position === characters.length,
  word_boundary: atWordBoundary,
  no_word_boundary: (characters, position) => !atWordBoundary(characters, position),
};

function atWordBoundary(characters: readonly string[], position: number): boolean {
  return isWord(characters[position - 1]) !== isWord(characters[position]);
}

function isWord(character: string | undefined): boolean {
  return character !== undefined && /^\w$/.test(character);
}

import { err, ok, type Result } from "../../common/result.ts";
import { assertions, compileProgram, type Instruction } from "./regexp-program.ts";
import { parseRegexp, type RegexpProblem } from "./regexp-syntax.ts";

/** Where the match and its capture group start and end, as indexes of characters; -1: not set. */
type Captures = readonly [number, number, number, number];

interface Thread {
  readonly at: number;
  readonly captures: Captures;
}

/**
 * A regular expression that takes time linear in the text, whatever the pattern: all ways to match
 * go forward together, one character at a time (Thompson's construction with Pike's captures, as
 * in RE2). JavaScript's own engine backtracks, and a key chosen by a client could hold it for
 * minutes. Of several matches the leftmost counts, and there the one that the pattern prefers.
 */
export class LinearRegexp {
  /** Capture groups in the pattern. */
  readonly groups: number;
  readonly #program: readonly Instruction[];

  private constructor(program: readonly Instruction[], groups: number) {
    this.#program = program;
    this.groups = groups;
  }

  static compile(source: string): Result<LinearRegexp, RegexpProblem> {
    const parsed = parseRegexp(source);
    if (!parsed.ok) return parsed;
    const program = compileProgram(parsed.value);
    if (program === undefined)
      return err({ what: "is too large", fix: "use smaller repeat counts or fewer alternatives" });
    return ok(new LinearRegexp(program, parsed.value.groups));
  }

  /** Capture group 1 of the first match, or the match where there is no group; else undefined. */
  match(text: string): string | undefined {
    const characters = Array.from(text);
    const found = this.#search(characters);
    if (found === undefined) return undefined;
    const [start, end] = this.groups === 0 ? [found[0], found[1]] : [found[2], found[3]];
    return start === -1 || end === -1 ? "" : characters.slice(start, end).join("");
  }

  #search(characters: readonly string[]): Captures | undefined {
    let current: Thread[] = [];
    let found: Captures | undefined;
    for (let position = 0; position <= characters.length; position++) {
      const reached = new Set<number>();
      const ready: Thread[] = [];
      for (const thread of current) this.#follow(thread, position, characters, reached, ready);
      // A match may start here only while none has been found: the leftmost wins.
      if (found === undefined)
        this.#follow(
          { at: 0, captures: [position, -1, -1, -1] },
          position,
          characters,
          reached,
          ready,
        );
      current = [];
      for (const { at, captures } of ready) {
        const instruction = this.#program[at] as Instruction;
        if (instruction.kind === "match") {
          found = [captures[0], position, captures[2], captures[3]];
          // Threads behind this one are less preferred.
          break;
        }
        const character = characters[position];
        if (
          instruction.kind === "character" &&
          character !== undefined &&
          instruction.accepts(character.codePointAt(0) as number)
        )
          current.push({ at: at + 1, captures });
      }
      if (found !== undefined && current.length === 0) break;
    }
    return found;
  }

  /** Goes from a thread to all instructions that read a character or end, in order of preference. */
  #follow(
    thread: Thread,
    position: number,
    characters: readonly string[],
    reached: Set<number>,
    ready: Thread[],
  ): void {
    const stack: Thread[] = [thread];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { at, captures } = next;
      if (reached.has(at)) continue;
      reached.add(at);
      const instruction = this.#program[at] as Instruction;
      switch (instruction.kind) {
        case "jump":
          stack.push({ at: instruction.to, captures });
          break;
        case "split":
          stack.push({ at: instruction.otherwise, captures }, { at: instruction.first, captures });
          break;
        case "save": {
          const [start, end, groupStart, groupEnd] = captures;
          const saved: Captures =
            instruction.side === "start"
              ? [start, end, position, groupEnd]
              : [start, end, groupStart, position];
          stack.push({ at: at + 1, captures: saved });
          break;
        }
        case "assert":
          if (assertions[instruction.assertion](characters, position))
            stack.push({ at: at + 1, captures });
          break;
        case "character":
        case "match":
          ready.push(next);
          break;
      }
    }
  }
}

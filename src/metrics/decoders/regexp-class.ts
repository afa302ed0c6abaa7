import { Refusal } from "./regexp-refusal.ts";

type Accepts = (codePoint: number) => boolean;

/** Inclusive code point ranges. */
type Ranges = readonly (readonly [number, number])[];

const digit: Ranges = [[0x30, 0x39]];
const upper: Ranges = [[0x41, 0x5a]];
const lower: Ranges = [[0x61, 0x7a]];
const letter: Ranges = [...upper, ...lower];
const space: Ranges = [
  [0x09, 0x0a],
  [0x0c, 0x0d],
  [0x20, 0x20],
];
const word: Ranges = [...digit, ...letter, [0x5f, 0x5f]];

/** ASCII only, as in RE2. */
const perlClasses: Readonly<Record<string, Ranges>> = { d: digit, s: space, w: word };

const posixClasses: Readonly<Record<string, Ranges>> = {
  alnum: [...digit, ...letter],
  alpha: letter,
  blank: [
    [0x09, 0x09],
    [0x20, 0x20],
  ],
  cntrl: [
    [0x00, 0x1f],
    [0x7f, 0x7f],
  ],
  digit,
  graph: [[0x21, 0x7e]],
  lower,
  print: [[0x20, 0x7e]],
  punct: [
    [0x21, 0x2f],
    [0x3a, 0x40],
    [0x5b, 0x60],
    [0x7b, 0x7e],
  ],
  space: [[0x09, 0x0d], ...space],
  upper,
  word,
  xdigit: [...digit, [0x41, 0x46], [0x61, 0x66]],
};

const controlEscapes: Readonly<Record<string, number>> = {
  a: 0x07,
  f: 0x0c,
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
  v: 0x0b,
};

/** Reads what stands for one character of the text: a literal, an escape, a bracketed class. */
export class ClassReader {
  readonly #characters: readonly string[];
  readonly #foldCase: boolean;

  constructor(characters: readonly string[], foldCase: boolean) {
    this.#characters = characters;
    this.#foldCase = foldCase;
  }

  literal(character: string): Accepts {
    const codePoint = character.codePointAt(0) as number;
    return this.#accepting([[codePoint, codePoint]], false);
  }

  /** An escape whose letter is at `at`; `end` is the index after it. */
  escape(at: number): { readonly accepts: Accepts; readonly end: number } {
    const { ranges, negated, end } = this.#escaped(at);
    return { accepts: this.#accepting(ranges, negated), end };
  }

  /** A bracketed class whose first member is at `at`; `end` is the index after the bracket. */
  bracket(at: number): { readonly accepts: Accepts; readonly end: number } {
    let next = at;
    const negated = this.#characters[next] === "^";
    if (negated) next++;
    const ranges: (readonly [number, number])[] = [];
    const complements: Accepts[] = [];
    for (let first = true; ; first = false) {
      const character = this.#characters[next];
      if (character === undefined)
        throw new Refusal(`has a "[" that is not closed`, String.raw`write \[ for the character`);
      if (character === "]" && !first) break;
      const member = this.#member(next);
      next = member.end;
      if (member.negated) {
        complements.push(this.#accepting(member.ranges, true));
        continue;
      }
      const low = single(member.ranges);
      if (
        low === undefined ||
        this.#characters[next] !== "-" ||
        this.#characters[next + 1] === "]"
      ) {
        ranges.push(...member.ranges);
        continue;
      }
      const to = this.#member(next + 1);
      const high = to.negated ? undefined : single(to.ranges);
      if (high === undefined || high < low)
        throw new Refusal("has a bad character range", "write it low first, as in a-z");
      ranges.push([low, high]);
      next = to.end;
    }
    const inRanges = this.#accepting(ranges, false);
    const inside: Accepts = (codePoint) =>
      inRanges(codePoint) || complements.some((accepts) => accepts(codePoint));
    return { accepts: negated ? (codePoint) => !inside(codePoint) : inside, end: next + 1 };
  }

  #member(at: number): { ranges: Ranges; negated: boolean; end: number } {
    const character = this.#characters[at];
    if (character === undefined)
      throw new Refusal(`has a "[" that is not closed`, String.raw`write \[ for the character`);
    if (character === "\\") return this.#escaped(at + 1);
    if (character === "[" && this.#characters[at + 1] === ":") {
      const posix = /^\[:(\^?)([a-z]+):\]/.exec(this.#characters.slice(at, at + 16).join(""));
      const ranges = posix === null ? undefined : posixClasses[posix[2] as string];
      if (posix === null || ranges === undefined)
        throw new Refusal(
          "has an unknown [:class:]",
          "use [:alpha:], [:digit:] or another of Go's",
        );
      return { ranges, negated: posix[1] === "^", end: at + posix[0].length };
    }
    const codePoint = character.codePointAt(0) as number;
    return { ranges: [[codePoint, codePoint]], negated: false, end: at + 1 };
  }

  #escaped(at: number): { ranges: Ranges; negated: boolean; end: number } {
    const character = this.#characters[at];
    if (character === undefined)
      throw new Refusal("ends in a backslash", String.raw`write \\ for the character`);
    const perl = perlClasses[character.toLowerCase()];
    if (perl !== undefined)
      return { ranges: perl, negated: character !== character.toLowerCase(), end: at + 1 };
    if (character === "x") return this.#hexEscape(at);
    if (/[1-9]/.test(character))
      throw new Refusal(
        `refers back to group ${character}`,
        "write the text out; RE2 has no backreferences",
      );
    const codePoint = controlEscapes[character] ?? punctuation(character);
    if (codePoint === undefined)
      throw new Refusal(`has an unknown escape \\${character}`, `write ${character} for itself`);
    return { ranges: [[codePoint, codePoint]], negated: false, end: at + 1 };
  }

  #hexEscape(at: number): { ranges: Ranges; negated: boolean; end: number } {
    const rest = this.#characters.slice(at, at + 12).join("");
    const hex = /^x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/.exec(rest);
    const codePoint = hex === null ? Number.NaN : Number.parseInt((hex[1] ?? hex[2]) as string, 16);
    if (hex === null || codePoint > 0x10ffff)
      throw new Refusal(String.raw`has a bad \x escape`, String.raw`write \x41 or \x{1f600}`);
    return { ranges: [[codePoint, codePoint]], negated: false, end: at + hex[0].length };
  }

  #accepting(ranges: Ranges, negated: boolean): Accepts {
    const inside: Accepts = (codePoint) =>
      ranges.some(([low, high]) => codePoint >= low && codePoint <= high);
    const folded: Accepts = this.#foldCase
      ? (codePoint) => caseForms(codePoint).some(inside)
      : inside;
    return negated ? (codePoint) => !folded(codePoint) : folded;
  }
}

function single(ranges: Ranges): number | undefined {
  const [range] = ranges;
  return ranges.length === 1 && range !== undefined && range[0] === range[1] ? range[0] : undefined;
}

function punctuation(character: string): number | undefined {
  return /^[!-/:-@[-`{-~]$/.test(character) ? character.codePointAt(0) : undefined;
}

function caseForms(codePoint: number): readonly number[] {
  const character = String.fromCodePoint(codePoint);
  return [character, character.toLowerCase(), character.toUpperCase()].flatMap((form) => {
    const only = form.codePointAt(0);
    return only !== undefined && String.fromCodePoint(only) === form ? [only] : [];
  });
}

import {
  type Alias,
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  visit,
} from "yaml";
import { err, ok, type Result } from "../common/result.ts";
import { ConfigProblem, type KeyPath, type Position } from "./config-problem.ts";
import type { FileText, Substitution } from "./substitution.ts";

/** A config text may be this large: a hundred times what a long one needs. */
export const maxConfigBytes = 1_048_576;
const maxLineLength = 4_096;
/**
 * Columns of indentation and of `-`, `?`, `:` before a line's first word. Each can open a block, and
 * the YAML parser recurses where blocks end: some two thousand overflow its stack.
 */
const maxIndentation = 256;
const maxDepth = 32;
const tooDeep = `nested deeper than ${maxDepth} levels`;
/** Values after aliases are followed: what stops an alias bomb. */
const maxValues = 100_000;

/** What a file gave to the value at this place, whose key stands at that one. */
export interface PlacedFileText extends FileText {
  readonly position: Position;
  readonly keyPosition: Position;
}

/** A YAML document as plain values, with the place of each in the text. */
export interface YamlSource {
  readonly file: string;
  /** Objects have only own keys that stood in the text; integers beyond 2⁵³ are bigint. */
  readonly value: unknown;
  /** What of it came from files that `${file:…}` named: no problem of the config shows it (hidden-texts.ts). */
  readonly fromFiles: readonly PlacedFileText[];
  /** What the value at `path` was read from: `file`, or the variable that stands in for it. */
  fileOf(path: KeyPath): string;
  /** Something stands at `path`. */
  has(path: KeyPath): boolean;
  /** The value at `path` is a block without keys. */
  isEmptyBlock(path: KeyPath): boolean;
  /** Where the value at `path` stands; the nearest enclosing one where it is absent. */
  locate(path: KeyPath): Position;
  /** Where the key of `path` stands (in a list: the element). */
  locateKey(path: KeyPath): Position;
}

/**
 * Reads one YAML 1.2 document (core schema). Every syntax error is reported; keys are text or
 * numbers, each once a block; aliases are followed within bounds; other tags are refused.
 * `substitution` fills `${…}` into values that are text; without quotes, what it makes of one is read
 * as YAML reads it, so that it can be a number.
 */
export function readYaml(
  text: string,
  file: string,
  substitution?: Substitution,
): Result<YamlSource, ConfigProblem[]> {
  const refused = (position: Position, what: string, fix?: string): ConfigProblem =>
    new ConfigProblem("CONFIG_YAML", file, position, what, fix);
  const top = { line: 1, column: 1 };
  if (text.length > maxConfigBytes)
    return err([refused(top, `larger than ${maxConfigBytes} bytes`, "put map entries into files")]);
  for (const [i, line] of text.split("\n").entries()) {
    if (line.length > maxLineLength)
      return err([
        refused(
          { line: i + 1, column: maxLineLength + 1 },
          `the line is longer than ${maxLineLength} characters`,
          "break it into several",
        ),
      ]);
    if (/^[\s?:-]*/.exec(line)![0].length > maxIndentation)
      return err([
        refused(
          { line: i + 1, column: maxIndentation + 1 },
          `the line is indented by more than ${maxIndentation} columns`,
          "indent by two columns a level",
        ),
      ]);
  }

  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  lines.addNewLine(0);
  const tokens = new BoundedTokens(text, lines.addNewLine);
  // Duplicate keys are found below, in linear time.
  const composer = new Composer({ uniqueKeys: false, intAsBigInt: true, stringKeys: false });
  const documents = [...composer.compose(tokens, true, text.length)];
  if (tokens.tooDeepAt !== undefined) return err([refused(position(tokens.tooDeepAt), tooDeep)]);
  const problems: ConfigProblem[] = [];
  const wrong = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  const bare = wrong.length === 0 ? undefined : bareSubstitution(text);
  const first = bare === undefined ? undefined : wrong.find(({ pos }) => pos[0] >= bare);
  // What follows the first mistake of that kind is guesswork.
  const told = first === undefined ? wrong : wrong.slice(0, wrong.indexOf(first) + 1);
  for (const error of told)
    problems.push(
      refused(
        position(error.pos[0]),
        `not valid YAML: ${oneSentence(error.message)}`,
        bare === undefined || error !== first
          ? undefined
          : `write "\${…}" with quotes where it stands between { } or [ ], as on line ${position(bare).line}`,
      ),
    );
  const [document, second] = documents;
  if (second !== undefined)
    problems.push(
      refused(position(second.range[0]), "a second document", "keep one document in the file"),
    );
  if (problems.length > 0 || document === undefined) return err(problems);

  const positions = new Map<string, { key: Position; value: Position }>();
  const emptyBlocks = new Set<string>();
  const fromFiles: PlacedFileText[] = [];
  const targets = aliasTargets(document);
  let values = 0;
  const convert = (node: Node | null, path: KeyPath, key: Position, depth: number): unknown => {
    const at = node?.range ? position(node.range[0]) : key;
    positions.set(pathKey(path), { key, value: at });
    values++;
    if (depth > maxDepth || values > maxValues) {
      if (depth > maxDepth) problems.push(refused(at, tooDeep));
      else if (values === maxValues + 1)
        problems.push(
          refused(at, `more than ${maxValues} values after aliases are followed`, "use fewer"),
        );
      return null;
    }
    if (isAlias(node)) {
      const target = targets.get(node);
      if (target !== undefined) return convert(target, path, key, depth + 1);
      problems.push(refused(at, `no anchor &${node.source} before this alias`));
      return null;
    }
    if (isSeq(node))
      return node.items.map((item, i) => {
        const child = item as Node | null;
        const itemAt = child?.range ? position(child.range[0]) : at;
        return convert(child, [...path, i], itemAt, depth + 1);
      });
    if (isMap(node)) {
      const entries = new Map<string, unknown>();
      for (const pair of node.items) {
        const keyNode = pair.key as Node | null;
        const keyAt = keyNode?.range ? position(keyNode.range[0]) : at;
        const name = keyName(keyNode);
        if (name === undefined)
          problems.push(refused(keyAt, "a key that is neither text nor a number"));
        else if (name === "__proto__") problems.push(refused(keyAt, "the key __proto__"));
        else if (entries.has(name))
          problems.push(
            refused(
              keyAt,
              `${JSON.stringify(name)} stands twice in this block`,
              "remove one of them",
            ),
          );
        else
          entries.set(name, convert(pair.value as Node | null, [...path, name], keyAt, depth + 1));
      }
      if (entries.size === 0) emptyBlocks.add(pathKey(path));
      return Object.fromEntries(entries);
    }
    if (!isScalar(node)) return null;
    if (substitution === undefined || typeof node.value !== "string")
      return scalarValue(node.value);
    const filled = substitution.apply(node.value);
    if (!filled.ok) {
      const { token, what, fix } = filled.error;
      const [start, end] = node.range ?? [0, 0];
      const inside = text.slice(start, end).indexOf(token);
      problems.push(refused(inside < 0 ? at : position(start + inside), what, fix));
      return null;
    }
    for (const piece of filled.value.fromFiles)
      fromFiles.push({ ...piece, position: at, keyPosition: key });
    const asWritten = filled.value.text === node.value || node.type !== "PLAIN";
    return asWritten ? filled.value.text : plainScalar(filled.value.text);
  };
  const value = convert(document.contents, [], top, 0);
  if (problems.length > 0) return err(problems);

  const nearest = (path: KeyPath, part: "key" | "value"): Position => {
    const exact = positions.get(pathKey(path));
    if (exact !== undefined) return exact[part];
    // What is absent is shown at the key of the block that lacks it.
    for (let length = path.length - 1; length >= 0; length--) {
      const found = positions.get(pathKey(path.slice(0, length)));
      if (found !== undefined) return found.key;
    }
    return top;
  };
  return ok({
    file,
    value,
    fromFiles,
    fileOf: () => file,
    has: (path) => positions.has(pathKey(path)),
    isEmptyBlock: (path) => emptyBlocks.has(pathKey(path)),
    locate: (path) => nearest(path, "value"),
    locateKey: (path) => nearest(path, "key"),
  });
}

/**
 * What each alias stands for: the last node before it with its anchor. The library's own `resolve` walks
 * through the whole document for each, most of a minute of CPU time for a text of 50 KB.
 */
function aliasTargets(document: Document): ReadonlyMap<Alias, Node> {
  const anchored = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Node: (_, node) => {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchored.set(node.anchor, node);
        return;
      }
      const target = anchored.get(node.source);
      if (target !== undefined) targets.set(node, target);
    },
  });
  return targets;
}

function keyName(node: Node | null): string | undefined {
  if (!isScalar(node)) return undefined;
  const { value } = node;
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "bigint" ? String(value) : undefined;
}

/** Text as a YAML scalar without quotes: true and false, and whole numbers; all else is text. */
export function plainScalar(text: string): unknown {
  if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return /^[-+]?[0-9]{1,15}$/.test(text) ? Number(text) : text;
}

function scalarValue(value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function pathKey(path: KeyPath): string {
  return path.join("\0");
}

/** What the lexer has between tokens: a document's begin, a flow's end, a scalar to come. */
const marks = { document: "\x02", flowEnd: "\x18", scalar: "\x1f" } as const;
const allMarks: ReadonlySet<string> = new Set(Object.values(marks));

/**
 * What the library's parser makes of a text, up to where more brackets are open than values may be nested:
 * it and its composer recurse with each, and some 800 overflow the stack.
 */
class BoundedTokens {
  readonly #text: string;
  readonly #parser: Parser;
  /** Where the first bracket stands that is one too many. */
  tooDeepAt: number | undefined;

  constructor(text: string, onNewLine: (offset: number) => void) {
    this.#text = text;
    this.#parser = new Parser(onNewLine);
  }

  *[Symbol.iterator](): Generator<CST.Token, void> {
    const parser = this.#parser;
    let open = 0;
    let before = "";
    for (const lexeme of new Lexer().lex(this.#text)) {
      // What a mark announces is text, whatever it looks like.
      if (before !== marks.scalar) {
        if (lexeme === "[" || lexeme === "{") open++;
        else if (lexeme === "]" || lexeme === "}") open = Math.max(0, open - 1);
        else if (lexeme === marks.flowEnd) open = 0;
      }
      // The outermost bracket is level 0.
      if (open > maxDepth + 1) {
        this.tooDeepAt = parser.offset;
        return;
      }
      yield* parser.next(lexeme);
      before = lexeme;
    }
    yield* parser.end();
  }
}

/**
 * Where the first `${` without quotes stands between `{ }` or `[ ]`: there YAML takes `{` for a block.
 */
function bareSubstitution(text: string): number | undefined {
  let at = 0;
  let before = "";
  for (const token of new Lexer().lex(text)) {
    if (allMarks.has(token)) continue;
    if (token === "{" && before.endsWith("$")) return at - 1;
    at += token.length;
    before = token;
  }
  return undefined;
}

/** The library's messages may end in a colon and a drawing of the line; their first line is enough. */
function oneSentence(message: string): string {
  const [first = message] = message.split("\n");
  return first.replace(/[:.]?\s*$/, "").replace(/ at line \d+, column \d+$/, "");
}

import { ConfigProblem, type Position } from "./config-problem.ts";
import { type PlacedFileText, plainScalar, type YamlSource } from "./read-yaml.ts";
import { quote } from "./scalars.ts";

/** Shorter texts are no secrets: what is said of another value has such words of its own. */
const shortestElsewhere = 8;
/** Of a value's own problem: so many characters of it in a row say something of it. */
const tellingCharacters = 4;

/**
 * The problems without what files gave to the config: they are where its secrets come from, and
 * messages go to logs. In place of a text stands the `${file:…}` that named its file. A problem of the
 * value itself that would still show a part says only that it is wrong. Where a problem is, its file,
 * place and key, stays as it is: a key is never filled in.
 */
export function withoutFileTexts(
  problems: readonly ConfigProblem[],
  { file, fromFiles }: YamlSource,
): readonly ConfigProblem[] {
  // Longest first: one text may hold another.
  const texts = fromFiles
    .filter(({ text }) => text !== "")
    .sort((a, b) => b.text.length - a.text.length);
  if (texts.length === 0) return problems;
  return problems.map((problem) => {
    const isOwn = ({ position, keyPosition }: PlacedFileText): boolean =>
      problem.file === file &&
      (isSame(position, problem.position) || isSame(keyPosition, problem.position));
    return withoutTexts(problem, file, texts, isOwn);
  });
}

function isSame(one: Position, other: Position): boolean {
  return one.line === other.line && one.column === other.column;
}

/** What `pathText` makes, in front of what is wrong there. */
const keyInFront =
  /^(?:[\w-]+|\[(?:\d+|"(?:[^"\\]|\\.)*")\])(?:\.[\w-]+|\[(?:\d+|"(?:[^"\\]|\\.)*")\])*: /;

function withoutTexts(
  problem: ConfigProblem,
  configFile: string,
  texts: readonly PlacedFileText[],
  isOwn: (text: PlacedFileText) => boolean,
): ConfigProblem {
  const own = texts.filter(isOwn);
  const hide = (message: string): string =>
    texts.reduce(
      (hidden, text) => (own.includes(text) ? withoutOwn : withoutOther)(hidden, text),
      message,
    );
  const tells = (message: string): boolean => own.some((text) => tellsOf(message, text));
  const { code, file, position, what, fix, detail } = problem;
  const [key = ""] = keyInFront.exec(what) ?? [];
  const hiddenWhat = hide(what.slice(key.length));
  const hiddenFix = fix === undefined ? undefined : hide(fix);
  const [first] = own;
  return new ConfigProblem(
    code,
    // An entry file may be named by such a text.
    file === configFile ? file : hide(file),
    position,
    first !== undefined && tells(hiddenWhat)
      ? `${key}what ${first.token} holds is wrong here`
      : `${key}${hiddenWhat}`,
    hiddenFix === undefined || tells(hiddenFix) ? undefined : hiddenFix,
    detail?.map(hide).filter((line) => !tells(line)),
  );
}

/** What is said of the value itself, without it, however short it is. */
function withoutOwn(message: string, { token, text }: PlacedFileText): string {
  // Not within a word or number: `5` is no part of `15`, nor of `1.5`.
  const alone = (hidden: string, form: string): string => replaced(hidden, form, token, /[\w.]/);
  if (text.length < tellingCharacters) return alone(message, text);
  const hidden = formsOf(text).reduce((rest, form) => rest.replaceAll(form, () => token), message);
  // `+0042` is shown as the number that it was read as.
  return alone(hidden, String(plainScalar(text)));
}

/** What is said of another value, without this one where it stands whole. */
function withoutOther(message: string, { token, text }: PlacedFileText): string {
  if (text.length < shortestElsewhere) return message;
  // A word may be one of the message's own, unless it is quoted.
  if (/^[a-z]+$/.test(text)) return message.replaceAll(`"${text}"`, () => `"${token}"`);
  return formsOf(text).reduce((hidden, form) => replaced(hidden, form, token, /\w/), message);
}

/** How messages show a text: in quotes, cut where it is long, and as it is. */
function formsOf(text: string): readonly string[] {
  const forms = [JSON.stringify(text).slice(1, -1), text];
  const quoted = quote(text);
  return quoted.endsWith("…") ? [...forms, quoted.slice(1)] : forms;
}

/** The message with `token` for each `text` that is not a part of something longer. */
function replaced(message: string, text: string, token: string, before: RegExp): string {
  return message.replaceAll(text, (found, at: number) => {
    const isInside =
      (isWord(text[0]) && before.test(message[at - 1] ?? "")) ||
      (isWord(text.at(-1)) && isWord(message[at + text.length]));
    return isInside ? found : token;
  });
}

function isWord(character: string | undefined): boolean {
  return character !== undefined && /\w/.test(character);
}

/** Whether a part of the text stands in the message, beside its token. */
function tellsOf(message: string, { token, text }: PlacedFileText): boolean {
  const rest = message.replaceAll(token, "");
  if (text.length < tellingCharacters) return false;
  for (let at = 0; at + tellingCharacters <= text.length; at++)
    if (rest.includes(text.slice(at, at + tellingCharacters))) return true;
  return false;
}

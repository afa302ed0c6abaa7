import { ConfigProblem } from "./config-problem.ts";
import type { PlacedFileText, YamlSource } from "./read-yaml.ts";
import { quote } from "./scalars.ts";

/** Shorter texts are no secrets, and would be found in messages that have nothing to do with them. */
const shortestElsewhere = 4;
/** So many characters of a text in a row say something of it. */
const tellingCharacters = 4;

/**
 * The problems without what files gave to the config: they are where its secrets come from, and
 * messages go to logs. In place of a text stands the `${file:…}` that named its file. A problem of
 * the value itself that would still show a part says only that the value is wrong.
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
    const own = texts.filter(
      ({ position: { line, column } }) =>
        problem.file === file &&
        problem.position.line === line &&
        problem.position.column === column,
    );
    const others = texts.filter(({ text }) => text.length >= shortestElsewhere);
    return withoutTexts(problem, new Set([...own, ...others]), own);
  });
}

function withoutTexts(
  problem: ConfigProblem,
  all: ReadonlySet<PlacedFileText>,
  own: readonly PlacedFileText[],
): ConfigProblem {
  const hide = (message: string): string =>
    [...all].reduce((hidden, text) => withoutText(hidden, text), message);
  const tells = (message: string): boolean => own.some((text) => tellsOf(message, text));
  const { code, file, position, what, fix, detail } = problem;
  const [first] = own;
  const hiddenWhat = hide(what);
  const hiddenFix = fix === undefined ? undefined : hide(fix);
  return new ConfigProblem(
    code,
    file,
    position,
    first !== undefined && tells(hiddenWhat)
      ? `what ${first.token} holds is wrong here`
      : hiddenWhat,
    hiddenFix === undefined || tells(hiddenFix) ? undefined : hiddenFix,
    detail?.map(hide).filter((line) => !tells(line)),
  );
}

function withoutText(message: string, { token, text }: PlacedFileText): string {
  if (text.length < shortestElsewhere) {
    const pattern = text.replace(/[^\w]/g, "\\$&");
    // Not within a word or number: `5` is no part of `15`.
    return message.replace(new RegExp(`(?<![\\w.])${pattern}(?!\\w)`, "g"), () => token);
  }
  const quoted = quote(text);
  const forms = [JSON.stringify(text).slice(1, -1), text];
  if (quoted.endsWith("…")) forms.push(quoted.slice(1));
  return forms.reduce((hidden, form) => hidden.replaceAll(form, () => token), message);
}

/** Whether a part of the text stands in the message, beside its token. */
function tellsOf(message: string, { token, text }: PlacedFileText): boolean {
  const rest = message.replaceAll(token, "");
  if (text.length < tellingCharacters) return false;
  for (let at = 0; at + tellingCharacters <= text.length; at++)
    if (rest.includes(text.slice(at, at + tellingCharacters))) return true;
  return false;
}

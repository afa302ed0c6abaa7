// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is what configs say
import { expect, test } from "vitest";
import { ConfigProblem } from "../../src/config/config-problem.ts";
import { withoutFileTexts } from "../../src/config/hidden-texts.ts";
import type { YamlSource } from "../../src/config/read-yaml.ts";

const token = "${file:held}";
const value = { line: 2, column: 9 };
const key = { line: 2, column: 3 };
const elsewhere = { line: 7, column: 1 };

interface Shown {
  readonly name: string;
  readonly held: string;
  readonly at?: typeof value;
  readonly file?: string;
  readonly what: string;
  readonly fix?: string;
  readonly shown: string;
}

const cases: readonly Shown[] = [
  {
    name: "the whole text of the value itself",
    held: "hunter2-XyZZy",
    what: 'workers: found "hunter2-XyZZy"',
    shown: 't.yaml:2:9: workers: found "${file:held}"',
  },
  {
    name: "its own key, though the text has a part of it",
    held: "port-listeners",
    what: 'listeners[0].listen: "port-listeners" is no address',
    fix: "write 127.0.0.1:53",
    shown: 't.yaml:2:9: listeners[0].listen: "${file:held}" is no address; write 127.0.0.1:53',
  },
  {
    name: "the number that it was read as",
    held: "+000424242",
    what: "filters.f.globals.key: 424242 is more than 65535",
    shown: "t.yaml:2:9: filters.f.globals.key: ${file:held} is more than 65535",
  },
  {
    name: "the key and nothing else where a part would show",
    held: "ip host hunter2",
    what: 'filters["a: b"].expression: no host hunter2',
    fix: "name one",
    shown:
      't.yaml:2:9: filters["a: b"].expression: what ${file:held} holds is wrong here; name one',
  },
  {
    name: "no part of it either in a problem that is told at the key",
    held: "ip host hunter2",
    at: key,
    what: "filters.f.expression: no host hunter2",
    shown: "t.yaml:2:3: filters.f.expression: what ${file:held} holds is wrong here",
  },
  {
    name: "a whole text where another value is wrong",
    held: "hunter2-XyZZy",
    at: elsewhere,
    what: 'listeners[1].upstream: no upstream "app"',
    fix: "there is hunter2-XyZZy",
    shown: 't.yaml:7:1: listeners[1].upstream: no upstream "app"; there is ${file:held}',
  },
  {
    name: "a whole text in a path",
    held: "hunter2-XyZZy",
    at: elsewhere,
    what: "filters.f.object: /etc/hunter2-XyZZy/f.o: there is no such file",
    shown: "t.yaml:7:1: filters.f.object: /etc/${file:held}/f.o: there is no such file",
  },
  {
    name: "no part of another word",
    held: "hunter2X",
    at: elsewhere,
    what: "a: hunter2XyZZy and shunter2X stay",
    shown: "t.yaml:7:1: a: hunter2XyZZy and shunter2X stay",
  },
  {
    name: "a key that is the same text",
    held: "hunter2-XyZZy",
    at: elsewhere,
    what: "upstreams.hunter2-XyZZy.addresses: is missing",
    shown: "t.yaml:7:1: upstreams.hunter2-XyZZy.addresses: is missing",
  },
  {
    name: "words of the message, of which the text is one, but where they are quoted",
    held: "upstream",
    at: elsewhere,
    what: 'listeners[1].upstream: no upstream "upstream"',
    shown: 't.yaml:7:1: listeners[1].upstream: no upstream "${file:held}"',
  },
  {
    name: "a short text where another value is wrong",
    held: "5300",
    at: elsewhere,
    what: "listeners[1].listen: port 5300 is taken",
    shown: "t.yaml:7:1: listeners[1].listen: port 5300 is taken",
  },
  {
    name: "the name of another file",
    held: "hunter2-XyZZy",
    at: elsewhere,
    file: "hunter2-XyZZy.csv",
    what: "key: not a number",
    shown: "${file:held}.csv:7:1: key: not a number",
  },
];

for (const { name, held, at = value, file = "t.yaml", what, fix, shown } of cases)
  test(`${shown.includes(token) ? "hidden" : "not hidden"} is ${name}`, () => {
    const text = { token, text: held, position: value, keyPosition: key };
    const source = { file: "t.yaml", fromFiles: [text] } as unknown as YamlSource;
    const problem = new ConfigProblem("CONFIG_VALUE", file, at, what, fix);
    expect(withoutFileTexts([problem], source).map(({ message }) => message)).toEqual([shown]);
  });

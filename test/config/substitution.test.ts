// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is what configs say

import { writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { loadConfig, parseConfig } from "../../src/config/load-config.ts";
import { overrides } from "../../src/config/overrides.ts";
import { readYaml } from "../../src/config/read-yaml.ts";
import { configSchema } from "../../src/config/schema.ts";
import { type Environment, Substitution } from "../../src/config/substitution.ts";
import { temporaryFolder } from "../support/processes.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const environment: Environment = {
  NAME: "dns",
  PORT: "5300",
  EMPTY: "",
  TRICKY: "${NAME}: [1, 2] # no comment",
  _x1: "1.5",
};

/** The document's value, or its problems as they are printed. */
function read(text: string): unknown {
  const source = readYaml(text, "t.yaml", new Substitution(environment, folder.path));
  return source.ok ? source.value.value : source.error.map((problem) => problem.message);
}

folder.write("token", "secret word\n");
folder.write("lines", "a\nb\r\n");
writeFileSync(`${folder.path}/binary`, Uint8Array.of(0xff, 0xfe));
folder.write("large", "x".repeat(65_537));

const filled: readonly (readonly [title: string, yaml: string, value: unknown])[] = [
  ["a variable", "a: ${NAME}", { a: "dns" }],
  ["several and what is around them", 'a: "${NAME}.test:${PORT}"', { a: "dns.test:5300" }],
  ["a whole number without quotes is a number", "a: ${PORT}", { a: 5300 }],
  ["in quotes it is text", "a: '${PORT}'", { a: "5300" }],
  ["a part of a word can make a number", "a: 1${PORT}", { a: 15300 }],
  ["a default where the variable is not set", "a: ${NONE:-${}", { a: "${" }],
  ["a default where it is empty", "a: ${EMPTY:-full}", { a: "full" }],
  ["an empty default", 'a: "${NONE:-}"', { a: "" }],
  ["an empty variable without a default", 'a: "${EMPTY}"', { a: "" }],
  ["a default that reads as true", "a: ${NONE:-true}", { a: true }],
  [
    "what is filled in is neither YAML nor searched again",
    "a: ${TRICKY}",
    { a: environment.TRICKY },
  ],
  ["$${ is a plain ${", 'a: "$${NAME} and $5"', { a: "${NAME} and $5" }],
  ["a file, without its last line end", "a: ${file:token}", { a: "secret word" }],
  ["a file's inner line ends stay", "a: ${file:lines}", { a: "a\nb" }],
  ["keys are left as they are", '"${NAME}": 1', { "${NAME}": 1 }],
  ["in lists and behind aliases", "a: &x ${_x1}\nb: [*x]", { a: "1.5", b: ["1.5"] }],
];

for (const [title, yaml, value] of filled)
  test(`filled in: ${title}`, () => {
    expect(read(yaml)).toEqual(value);
  });

const refused: readonly (readonly [title: string, yaml: string, problem: string])[] = [
  [
    "a variable that is not set",
    "a:\n  b: x${NONE}",
    "t.yaml:2:7: the environment variable NONE is not set; set it, or give a default: ${NONE:-value}",
  ],
  ["no end", "a: ${NAME", "t.yaml:1:4: ${ has no closing }; close it, or write $${ for a plain ${"],
  [
    "no name",
    'a: "${NAME} ${}"',
    "t.yaml:1:13: ${} names no environment variable; write ${NAME}, ${NAME:-default} or ${file:PATH}, or $${ for a plain ${",
  ],
  [
    "a name with other characters",
    "a: ${NA-ME}",
    "t.yaml:1:4: ${NA-ME} names no environment variable; write ${NAME}, ${NAME:-default} or ${file:PATH}, or $${ for a plain ${",
  ],
  ["no path", "a: ${file:}", "t.yaml:1:4: ${file:} names no file; write ${file:PATH}"],
  [
    "no such file",
    "a: ${file:nothing}",
    `t.yaml:1:4: ${folder.path}/nothing: there is no such file; check the path`,
  ],
  ["a folder", "a: ${file:.}", `t.yaml:1:4: ${folder.path}: is not a file; name a regular file`],
  [
    "no text",
    "a: ${file:binary}",
    `t.yaml:1:4: ${folder.path}/binary: is not text in UTF-8; convert the file`,
  ],
  [
    "a file too large for a value",
    "a: ${file:large}",
    `t.yaml:1:4: ${folder.path}/large: has 65537 bytes, more than the 65536 that are read; name a smaller file`,
  ],
];

for (const [title, yaml, problem] of refused)
  test(`refused with its place: ${title}`, () => {
    expect(read(yaml)).toEqual([problem]);
  });

test("aliases cannot multiply what is filled in without bound", () => {
  const [variable, count] = ["x".repeat(60_000), 100];
  const source = readYaml(
    `a: &x \${BIG}\nb: [${Array.from({ length: count }, () => "*x").join(", ")}]`,
    "t.yaml",
    new Substitution({ BIG: variable }, folder.path),
  );
  expect(source.ok ? [] : source.error.map(({ what }) => what)).toContain(
    "substitutions bring more than 4194304 characters into this config",
  );
});

const small = `version: 1
log: { level: warn }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
listeners: [ { name: a, protocol: udp, listen: "127.0.0.1:\${PORT}", upstream: app } ]
`;

test("a config takes its values from the environment", () => {
  const config = parseConfig(small, "t.yaml", {
    PORT: "5300",
    WEIR_WORKERS: "2",
    WEIR_DRAIN: "forward",
    WEIR_DRAIN_TIMEOUT: "20s",
    WEIR_LOG_LEVEL: "debug",
    WEIR_METRICS_LISTEN: "off",
    WEIR_SERVICE_HOST: "10.0.0.1",
    WEIR_MEMORY: "",
  });
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  expect(config.value).toMatchObject({
    workers: 2,
    drain: "forward",
    drainTimeoutMs: 20_000,
    logLevel: "debug",
    metricsListen: undefined,
    listeners: [{ listen: { host: "127.0.0.1", port: 5300 } }],
  });
});

test("quotes that lack around ${ are told once, and nothing that follows from it", () => {
  const config = parseConfig(
    small.replace('"127.0.0.1:${PORT}"', "127.0.0.1:${PORT}").concat("log: { level: ] }\n"),
    "t.yaml",
    { PORT: "5300" },
  );
  expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual([
    expect.stringMatching(
      /^t\.yaml:4:\d+: not valid YAML: .*; write "\$\{…\}" with quotes .* as on line 4$/,
    ),
  ]);
});

test("a wrong value in the environment is told by its variable, beside what else is wrong", () => {
  const config = parseConfig(small.replace("upstream: app", "upstream: apq"), "t.yaml", {
    PORT: "5300",
    WEIR_WORKERS: "many",
    WEIR_DRAIN: "later",
  });
  expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual([
    expect.stringMatching(/^t\.yaml:4:\d+: listeners\[0\]\.upstream: .*apq/),
    'WEIR_DRAIN:1:1: drain: expected refuse or forward, found "later"; write refuse or forward',
    'WEIR_WORKERS:1:1: workers: expected a whole number from 1 to 128, or auto, found "many"',
  ]);
});

test("every key that is neither in a list nor named by its user has an override", () => {
  const leaves = (shape: Readonly<Record<string, unknown>>, path: string): string[] =>
    Object.entries(shape).flatMap(([key, schema]) => {
      const inner = unwrapped(schema);
      return inner.shape === undefined
        ? [`${path}${key}:${inner.type}`]
        : leaves(inner.shape, `${path}${key}.`);
    });
  const scalars = leaves(unwrapped(configSchema).shape!, "")
    .filter((leaf) => !/:(record|array)$|^version:/.test(leaf))
    .map((leaf) => leaf.split(":")[0]);
  expect(Object.values(overrides).map((path) => path.join("."))).toEqual(
    expect.arrayContaining(scalars),
  );
});

/** A schema without its defaults: an object's members, or its kind. */
function unwrapped(schema: unknown): { shape?: Readonly<Record<string, unknown>>; type: string } {
  const { def } = schema as { def: { type: string; innerType?: unknown } };
  if (def.innerType !== undefined) return unwrapped(def.innerType);
  const { shape } = schema as { shape?: Readonly<Record<string, unknown>> };
  return shape === undefined ? { type: def.type } : { shape, type: def.type };
}

test("a value of the environment that does not go with the rest is told by its variable", () => {
  const config = parseConfig(`${small}admin: { listen: off }\n`, "t.yaml", {
    PORT: "5300",
    WEIR_ADMIN_LISTEN: "127.0.0.1:9000",
  });
  expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual([
    "WEIR_ADMIN_LISTEN:1:1: admin.listen: an address and port need a token; add tokenFile: and a file that holds one, or write unix: and a path",
  ]);
});

const hidden: readonly (readonly [title: string, held: string, line: string, problem: string])[] = [
  [
    "the value that stands in a message",
    "hunter2-XyZZy",
    "workers: ${file:held}",
    't.yaml:1:10: workers: expected a whole number from 1 to 128, or auto, found "${file:held}"',
  ],
  [
    "a short value",
    "x5",
    "drain: ${file:held}",
    't.yaml:1:8: drain: expected refuse or forward, found "${file:held}"; write refuse or forward',
  ],
  [
    "what is left of it where it is cut",
    "s3cret".repeat(40),
    "drain: ${file:held}",
    't.yaml:1:8: drain: expected refuse or forward, found "${file:held}; write refuse or forward',
  ],
  [
    "what is around it stays",
    "hunter2-XyZZy",
    'metrics: { listen: "host-${file:held}" }',
    't.yaml:1:20: metrics.listen: "host-${file:held}" is not an address and port; write an IP address and a port from 0 to 65535: "127.0.0.1:5300" or "[::1]:5300"',
  ],
  [
    "a remedy that has a part of it",
    "::1:5311",
    "metrics: { listen: '${file:held}' }",
    't.yaml:1:20: metrics.listen: "${file:held}" is ambiguous',
  ],
  [
    "a filter's expression and the place in it",
    "hunter2 or port 22",
    "filters: { f: { expression: '${file:held}' } }",
    "t.yaml:1:29: filters.f.expression: what ${file:held} holds is wrong here",
  ],
];

for (const [title, held, line, problem] of hidden)
  test(`no error shows what a file holds: ${title}`, () => {
    folder.write("held", held);
    const config = parseConfig(line, `${folder.path}/t.yaml`);
    const errors = config.ok ? [] : config.error;
    const all = errors.map(({ message }) => message.replace(`${folder.path}/`, ""));
    expect(all).toContain(problem);
    const printed = errors.flatMap(({ message, detail }) => [message, ...detail]).join("\n");
    for (let at = 0; at + 4 <= held.length; at++)
      expect(printed.replaceAll("${file:held}", "")).not.toContain(held.slice(at, at + 4));
  });

test("no error elsewhere shows what a file holds", () => {
  folder.write("held", "hunter2-XyZZy");
  const text = `upstreams: { a: { addresses: ["127.0.0.1:9"] } }
listeners:
  - { name: "\${file:held}", protocol: udp, listen: "127.0.0.1:5300", upstream: a }
  - { name: b, protocol: udp, listen: "127.0.0.1:5300", upstream: hunter2-XyZZy }
`;
  const config = parseConfig(text, `${folder.path}/t.yaml`);
  const messages = config.ok ? [] : config.error.map(({ message }) => message);
  expect(messages.join("\n")).toContain('no upstream "${file:held}"');
  expect(messages.join("\n")).not.toContain("hunter2");
});

test("a config file's ${file:…} is relative to the file", () => {
  folder.write("listen", "127.0.0.1:5301\n");
  const file = folder.write("weir.yaml", small.replace("127.0.0.1:${PORT}", "${file:listen}"));
  const config = loadConfig(file);
  expect(config.ok && config.value.listeners[0]?.listen.port).toBe(5301);
});

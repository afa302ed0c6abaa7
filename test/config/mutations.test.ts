import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { ConfigProblem } from "../../src/config/config-problem.ts";
import { parseConfig } from "../../src/config/load-config.ts";

/** The test is of configs: each program of the seeds is verified once, and not for each config. */
vi.mock(import("../../src/verifier/verify.ts"), async (importOriginal) => {
  const original = await importOriginal();
  const known = new Map<string, ReturnType<typeof original.verify>>();
  return {
    ...original,
    verify(...given: Parameters<typeof original.verify>) {
      const [{ object, name, instructions }] = given;
      const key = `${object} ${name} ${instructions.length}`;
      const verdict = known.get(key) ?? original.verify(...given);
      known.set(key, verdict);
      return verdict;
    },
  };
});

/** Where relative paths still find filters/. */
const file = "config/t.yaml";
const seeds = [
  "config/weir.yaml",
  ...readdirSync("config/examples")
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => `config/examples/${name}`),
].map((name) => readFileSync(name, "utf8").replaceAll("../../", "../"));

/** Either a config, or problems that each name a place in the text (or in a file it names). */
function holds(text: string): void {
  const config = parseConfig(text, file);
  if (config.ok) return;
  expect(config.error.length).toBeGreaterThan(0);
  const lines = text.split("\n").length;
  for (const problem of config.error) {
    expect(problem).toBeInstanceOf(ConfigProblem);
    const { line, column } = problem.position;
    expect(line).toBeGreaterThanOrEqual(1);
    expect(column).toBeGreaterThanOrEqual(1);
    if (problem.file === file) expect(line).toBeLessThanOrEqual(lines);
    expect(problem.message.startsWith(`${problem.file}:${line}:${column}: `)).toBe(true);
    expect(problem.what).not.toMatch(/undefined|\[object/);
  }
}

const junk = fc.constantFrom(
  ..."{}[]:,-?&*!|>'\"%@`#\t\n 0".split(""),
  "null",
  "~",
  "-1",
  "1e999",
  "0x",
  "9".repeat(40),
  "*protocol",
  "&a ",
  "<<: ",
  "!!set",
  "--- ",
  "...\n",
  "__proto__: ",
  "constructor: ",
  "\u0000",
  "\uFFFF",
  "é",
);

/** Cuts `length` characters at a place and puts something there. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.constantFrom(0, 0, 1, 2, 5, 20, 200),
  put: fc.oneof(junk, fc.string({ maxLength: 8 })),
});

test("a config with random edits is a config or a list of problems, never an exception", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(edit, { minLength: 1, maxLength: 6 }),
      (seed, edits) => {
        let text = seed;
        for (const { at, length, put } of edits) {
          const place = Math.floor(at * text.length);
          text = text.slice(0, place) + put + text.slice(place + length);
        }
        holds(text);
      },
    ),
    { seed: 20_251_122, numRuns: 1_500 },
  );
});

/** A value of any shape where the schema expects another. */
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double(),
    fc.string({ maxLength: 6 }),
    fc.constantFrom("app", "count", "127.0.0.1:53", "60s", "udp", "xdp", "9".repeat(30)),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom("name", "listen", "object", "maps", "entries", "key", "a", "1"),
      tie("value"),
      { maxKeys: 3 },
    ),
  ),
})).value;

test("a config with a value of another shape at any key is a list of problems, never an exception", () => {
  const values = [
    ...new Set(
      seeds
        .flatMap((text) => text.split("\n"))
        .map((line) => /^( *(?:- )?)([\w"-]+): *\S/.exec(line))
        .filter((match) => match !== null)
        .map((match) => `${match[1]}${match[2]}:`),
    ),
  ];
  expect(values.length).toBeGreaterThan(20);
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.constantFrom(...values),
      anyValue,
      (seed, start, value) => {
        const lines = seed.split("\n");
        const at = lines.findIndex((line) => line.startsWith(start));
        if (at < 0) return;
        // JSON is YAML.
        lines[at] = `${start} ${JSON.stringify(value)}`;
        holds(lines.join("\n"));
      },
    ),
    { seed: 7, numRuns: 1_500 },
  );
});

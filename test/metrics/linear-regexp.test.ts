import fc from "fast-check";
import { expect, test } from "vitest";
import { LinearRegexp } from "../../src/metrics/decoders/linear-regexp.ts";

function match(pattern: string, text: string): string | undefined {
  const compiled = LinearRegexp.compile(pattern);
  if (!compiled.ok) throw new Error(compiled.error.what);
  return compiled.value.match(text);
}

// Expected values are those of Go's regexp, FindStringSubmatch.
for (const [pattern, text, expected] of [
  ["b", "abc", "b"],
  ["^b", "abc", undefined],
  ["c$", "abc", "c"],
  ["", "abc", ""],
  ["a|ab", "ab", "a"],
  ["ab|a", "ab", "ab"],
  ["a*", "aaa", "aaa"],
  ["a*?", "aaa", ""],
  ["a+?", "aaa", "a"],
  ["(a+?)b", "aab", "aa"],
  ["(a*)(?:a|b)", "aab", "aa"],
  ["x(y)?", "x", ""],
  ["a{2}", "aaaa", "aa"],
  ["a{2,}", "aaaa", "aaaa"],
  ["a{1,3}", "aaaa", "aaa"],
  ["a{1,3}?", "aaaa", "a"],
  ["a{,3}", "a{,3}", "a{,3}"],
  ["[a-c]+", "xxabcd", "abc"],
  ["[^a-c]+", "abxyc", "xy"],
  ["[]a]+", "a]b", "a]"],
  ["[^]a]+", "a]bc", "bc"],
  ["[a-]+", "b-a", "-a"],
  ["[\\d.]+", "v1.20b", "1.20"],
  ["[^\\W_]+", "_ab_", "ab"],
  ["[[:alpha:]]+", "12ab3", "ab"],
  ["[[:^alpha:]]+", "ab12", "12"],
  ["\\bcat\\b", "a cat.", "cat"],
  ["\\Bcat", "a cat concat", "cat"],
  ["\\Aab\\z", "ab", "ab"],
  ["a.c", "a\nc", undefined],
  ["(?s)a.c", "a\nc", "a\nc"],
  ["(?i)STRASSE", "Strasse", "Strasse"],
  ["(?i)[a-z]+", "ABC", "ABC"],
  ["(?P<host>\\w+)\\.example", "www.example", "www"],
  ["\\x41\\x{1f600}", "A\u{1f600}", "A\u{1f600}"],
  ["^.$", "\u{1f600}", "\u{1f600}"],
  ["a\\.b\\\\", "a.b\\", "a.b\\"],
  ["(a*)*", "b", ""],
  ["(a|b)*c", "ababc", "b"],
  ["é+", "caféé", "éé"],
] as const)
  test(`regexp ${pattern} on ${JSON.stringify(text)} gives ${JSON.stringify(expected)}`, () =>
    expect(match(pattern, text)).toBe(expected));

for (const [pattern, what] of [
  ["(a)\\1", "refers back to group 1"],
  ["a(?=b)", "looks ahead or behind"],
  ["(?<!a)b", "looks ahead or behind"],
  ["a**", "repeats a repeat"],
  ["a++", "repeats a repeat"],
  ["*a", 'has a "*" with nothing before it'],
  ["(a", 'has a "(" that is not closed'],
  ["a)", 'has a ")" that closes nothing'],
  ["[a", 'has a "[" that is not closed'],
  ["[", 'has a "[" that is not closed'],
  ["[z-a]", "has a bad character range"],
  ["[[:word1:]]", "has an unknown [:class:]"],
  ["\\", "ends in a backslash"],
  ["\\pL", "has an unknown escape \\p"],
  ["\\x4", "has a bad \\x escape"],
  ["a{3,2}", "has a bad repeat count {3,2}"],
  ["a{1001}", "has a bad repeat count {1001}"],
  ["(a{1000}){1000}", "is too large"],
  ["(?m)a", 'has an unknown group "(?m"'],
  ["(".repeat(60), "nests deeper than 50"],
] as const)
  test(`regexp ${pattern.slice(0, 20)} is refused: ${what}`, () =>
    expect(LinearRegexp.compile(pattern)).toMatchObject({ ok: false, error: { what } }));

for (const pattern of [
  "^(a+)+$",
  "^(a|a)*$",
  "^(a|aa)+$",
  "^(a*)*$",
  `^${"a?".repeat(60)}a{60}$`,
  "(.*)*x",
])
  test(`regexp ${pattern.slice(0, 12)} answers on text that makes backtracking endless`, () =>
    expect(match(pattern, `${"a".repeat(250)}!`)).toBeUndefined());

test("regexps agree with JavaScript's engine on random small patterns", () => {
  const atom = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\w", "(?:ab)", "(?:a|bc)", "c");
  const piece = fc
    .tuple(atom, fc.constantFrom("", "", "", "*", "+", "?", "{1,2}", "*?", "+?", "??"))
    .map(([inner, repeat]) => inner + repeat);
  const sequence = fc.array(piece, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));
  const pattern = fc.oneof(
    sequence,
    fc.tuple(sequence, sequence).map(([a, b]) => `${a}|${b}`),
    fc.tuple(sequence, sequence, sequence).map(([a, b, c]) => `${a}(${b})${c}`),
    sequence.map((inner) => `^${inner}$`),
  );
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "\n", "é"), maxLength: 8 });
  fc.assert(
    fc.property(pattern, text, (source, input) => {
      const groups = new RegExp(`${source}|`, "u").exec("")?.length;
      const expected = new RegExp(source, "u").exec(input);
      const value = expected === null ? undefined : groups === 2 ? expected[1] : expected[0];
      expect(match(source, input), `${source} on ${JSON.stringify(input)}`).toBe(value);
    }),
    { seed: 7, numRuns: 5_000 },
  );
});

test("any text as a pattern compiles or is refused with a cause and a cure", () => {
  const source = fc.string({
    unit: fc.constantFrom(..."ab(|)[]{}*+?\\^$.:-,12dwPx<>=!is\u{1f600}"),
    maxLength: 24,
  });
  fc.assert(
    fc.property(source, (pattern) => {
      const compiled = LinearRegexp.compile(pattern);
      if (compiled.ok) compiled.value.match("ab12ab");
      else expect([compiled.error.what, compiled.error.fix]).not.toContain("");
    }),
    { seed: 11, numRuns: 5_000 },
  );
});

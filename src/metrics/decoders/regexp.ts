import { err, ok, type Result } from "../../common/result.ts";
import type { RegexpSpec } from "../map-metric-spec.ts";
import { type Decoder, type DecoderProblem, decodeText, encodeText, skip } from "./decoder.ts";
import { LinearRegexp } from "./linear-regexp.ts";

/**
 * The first pattern that matches somewhere in the text gives the label: its capture group, or the
 * whole match where it has none. Text that matches nothing is left out of the metric, or becomes
 * the one value of `unknown`. Patterns are Go's (RE2), as in ebpf_exporter, and as there they take
 * time linear in the text: keys that come from packets cannot make a scrape slow.
 */
export function regexp(spec: RegexpSpec): Result<Decoder, DecoderProblem> {
  const patterns: LinearRegexp[] = [];
  for (const [i, source] of spec.regexps.entries()) {
    const compiled = LinearRegexp.compile(source);
    if (!compiled.ok) {
      const { what, fix } = compiled.error;
      return err({ path: ["regexps", i], what: `regexp "${source}": ${what}`, fix });
    }
    if (compiled.value.groups > 1)
      return err({
        path: ["regexps", i],
        what: `regexp "${source}" has ${compiled.value.groups} capture groups`,
        fix: "keep the one that is to be the label, and write the others as (?:...)",
      });
    patterns.push(compiled.value);
  }
  const otherwise = spec.unknown === undefined ? skip : encodeText(spec.unknown);
  return ok((input) => {
    const text = decodeText(input);
    for (const pattern of patterns) {
      const match = pattern.match(text);
      if (match !== undefined) return encodeText(match);
    }
    return otherwise;
  });
}

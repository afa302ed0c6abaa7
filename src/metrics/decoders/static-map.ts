import type { StaticMapSpec } from "../map-metric-spec.ts";
import { type Decoder, decodeText, encodeText } from "./decoder.ts";

const unknownPrefix = encodeText("unknown:");

/**
 * Text to other text by a table. What is not in it becomes `unknown:INPUT`; stays as it is with
 * `allow_unknown`; or becomes the one value of `unknown`, which bounds the number of series.
 */
export function staticMap(spec: StaticMapSpec): Decoder {
  const table = new Map<string, Uint8Array>();
  for (const [from, to] of Object.entries(spec.static_map)) table.set(from, encodeText(to));
  const collapsed = spec.unknown === undefined ? undefined : encodeText(spec.unknown);
  return (input) => {
    const known = table.get(decodeText(input));
    if (known !== undefined) return known;
    if (collapsed !== undefined) return collapsed;
    return spec.allow_unknown ? input : withPrefix(input);
  };
}

function withPrefix(input: Uint8Array): Uint8Array {
  const out = new Uint8Array(unknownPrefix.length + input.length);
  out.set(unknownPrefix);
  out.set(input, unknownPrefix.length);
  return out;
}

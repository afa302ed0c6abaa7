import { err, ok, type Result } from "../../common/result.ts";
import type { DecoderSpec, LabelSpec } from "../map-metric-spec.ts";
import { type Decoder, type DecoderProblem, decodeText, skip } from "./decoder.ts";
import { decodeDname } from "./dname.ts";
import { decodeHex } from "./hex.ts";
import { decodeInetIp, inetIpSizes } from "./inet-ip.ts";
import { regexp } from "./regexp.ts";
import { staticMap } from "./static-map.ts";
import { decodeString } from "./string.ts";
import { decodeInt, decodeUint, decodeUintBe, integerSizes } from "./uint.ts";

/** No label value is longer, in UTF-16 units. What is longer is cut. */
export const maxLabelLength = 256;

/** Key bytes one label may read, and decoders it may chain. */
export const maxLabelBytes = 256;
export const maxDecoders = 8;

/** Some bytes of a key made into a label's text, by decoders compiled once. */
export interface CompiledLabel {
  readonly name: string;
  readonly size: number;
  readonly padding: number;
  /** The value for these `size` bytes, or `skip`: leave the whole series out. Never throws. */
  decode(bytes: Uint8Array): string | typeof skip;
}

/** Compiles a label's decoders, or tells what is wrong with each. Paths start at the label. */
export function compileLabel(label: LabelSpec): Result<CompiledLabel, readonly DecoderProblem[]> {
  const steps: Decoder[] = [];
  const problems: DecoderProblem[] = [];
  if (label.decoders.length === 0)
    problems.push({
      path: ["decoders"],
      what: `label "${label.name}" has no decoder`,
      fix: "add one, such as { name: uint } or { name: hex }",
    });
  for (const [i, spec] of label.decoders.entries()) {
    const step = compileDecoder(spec, label.size, i === 0);
    if (step.ok) {
      steps.push(step.value);
      continue;
    }
    const { path, what, fix } = step.error;
    const named = `label "${label.name}", decoder ${spec.name}: ${what}`;
    problems.push({ path: ["decoders", i, ...path], what: named, fix });
  }
  if (problems.length > 0) return err(problems);
  return ok({
    name: label.name,
    size: label.size,
    padding: label.padding,
    decode(bytes) {
      let value = bytes;
      for (const step of steps) {
        const next = step(value);
        if (next === skip) return skip;
        value = next;
      }
      return labelText(value);
    },
  });
}

/** The values of labels that carve `key` from its first byte on; undefined: leave the key out. */
export function decodeLabels(
  labels: readonly CompiledLabel[],
  key: Uint8Array,
): readonly string[] | undefined {
  const values: string[] = [];
  let at = 0;
  for (const { size, padding, decode } of labels) {
    const value = decode(key.subarray(at, at + size));
    if (value === skip) return undefined;
    values.push(value);
    at += size + padding;
  }
  return values;
}

function compileDecoder(
  spec: DecoderSpec,
  size: number,
  first: boolean,
): Result<Decoder, DecoderProblem> {
  switch (spec.name) {
    case "uint":
      return ofSize(decodeUint, size, integerSizes, first);
    case "uint_be":
      return ofSize(decodeUintBe, size, integerSizes, first);
    case "int":
      return ofSize(decodeInt, size, integerSizes, first);
    case "inet_ip":
      return ofSize(decodeInetIp, size, inetIpSizes, first);
    case "string":
      return ok(decodeString);
    case "hex":
      if (size * 2 > maxLabelLength)
        return err({
          path: [],
          what: `${size} bytes make ${size * 2} digits, and a label has at most ${maxLabelLength}`,
          fix: `split it into labels of at most ${maxLabelLength / 2} bytes`,
        });
      return ok(decodeHex);
    case "dname":
      return ok(decodeDname);
    case "static_map":
      return ok(staticMap(spec));
    case "regexp":
      return regexp(spec);
  }
}

/** A decoder that reads numbers out of raw bytes, and so comes first and knows its sizes. */
function ofSize(
  decoder: Decoder,
  size: number,
  sizes: readonly number[],
  first: boolean,
): Result<Decoder, DecoderProblem> {
  if (!first)
    return err({
      path: [],
      what: "reads the key's bytes, not another decoder's text",
      fix: "put it first",
    });
  if (!sizes.includes(size))
    return err({
      path: [],
      what: `cannot read ${size} bytes`,
      fix: `set the label's size to ${sizes.join(" or ")} and count further bytes as padding`,
    });
  return ok(decoder);
}

/**
 * Text that every Prometheus parser takes: valid Unicode, no control characters but tab and line
 * feed (a NUL ends some parsers' input), bounded.
 */
function labelText(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  const bounded = text.length > maxLabelLength ? text.slice(0, maxLabelLength) : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced.
  return bounded.toWellFormed().replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "\ufffd");
}

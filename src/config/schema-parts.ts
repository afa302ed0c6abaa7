import { isIP } from "node:net";
import { z } from "zod";
import type { Result } from "../common/result.ts";
import {
  durationPattern,
  parseAddressRange,
  parseDuration,
  parseListenAddress,
  parseListenerAddress,
  parseMemorySize,
  parsePeerAddress,
  parseUpstreamAddress,
  quote,
  sizePattern,
  type Wrong,
} from "./scalars.ts";

/** What messages and the reference page say of a schema beyond zod's own description. */
export interface SchemaNotes {
  /** What a value is, after "expected": `a duration`. */
  readonly noun?: string;
}

export const schemaNotes = z.registry<SchemaNotes>();

/** A block of keys. Unknown ones are errors. */
export function block<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> {
  const schema = z.strictObject(shape);
  schemaNotes.add(schema, { noun: "a block of keys" });
  return schema;
}

/** One of a few words. */
export function choice<const Words extends readonly string[]>(words: Words) {
  const schema = z.enum(words);
  schemaNotes.add(schema, { noun: words.join(" or ") });
  return schema;
}

/** A text that means something else: `parse` gives it, or says what is wrong. */
export function textOf<T>(
  noun: string,
  example: string,
  parse: (text: string) => Result<T, Wrong>,
  pattern?: string,
) {
  const text = z
    .string()
    .meta({ examples: [example], ...(pattern === undefined ? {} : { pattern }) });
  schemaNotes.add(text, { noun });
  return text.transform((written, context): T => {
    const parsed = parse(written);
    if (parsed.ok) return parsed.value;
    context.addIssue({
      code: "custom",
      message: parsed.error.what,
      params: { fix: parsed.error.fix },
    });
    return z.NEVER;
  });
}

/** Milliseconds. */
export const duration = textOf("a duration", "60s", parseDuration, durationPattern);
/** Bytes. */
export const memorySize = textOf("a size", "512MiB", parseMemorySize, sizePattern);
export const listenAddress = textOf("an address and port", "127.0.0.1:5300", parseListenAddress);
/** A port left out is the tunnel protocol's; other protocols have none. */
export const listenerAddress = textOf(
  "an address and port",
  "127.0.0.1:5300",
  parseListenerAddress,
);
export const upstreamAddress = textOf(
  "an address and port",
  "127.0.0.1:5353",
  parseUpstreamAddress,
);

/** A port left out is the tunnel protocol's. */
export const peerAddress = textOf("an address and port", "192.0.2.1:4789", parsePeerAddress);

export const addressRange = textOf("a range of addresses", "192.0.2.0/24:53", parseAddressRange);

/** A range of addresses, whatever the port. */
export const cidr = textOf("a CIDR", "10.0.0.0/8", (text) => {
  const range = parseAddressRange(text);
  return range.ok && range.value.port !== undefined
    ? {
        ok: false,
        error: { what: `${quote(text)} has a port`, fix: "write the addresses alone: 10.0.0.0/8" },
      }
    : range;
});

/** An IPv4 or IPv6 address without a port. */
export const ipAddress = textOf("an IP address", "192.0.2.1", (text) =>
  isIP(text) === 0 || text.includes("%")
    ? {
        ok: false,
        error: {
          what: `${quote(text)} is not an IP address`,
          fix: "write one as 192.0.2.1 or 2001:db8::1",
        },
      }
    : { ok: true, value: text },
);

/** What listeners, filters and upstreams are called: no colon or dot, which join names. */
export const namePattern = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

export const name = z
  .string()
  .regex(namePattern, {
    error: (issue) =>
      `${quote(issue.input)} is not a name: letters, digits, _ and -, beginning with a letter, at most 63`,
  })
  .meta({ examples: ["app"] });
schemaNotes.add(name, { noun: "a name" });

/** A reference to something named elsewhere in the config: checked there, so any text here. */
export const reference = z
  .string()
  .min(1)
  .meta({ examples: ["app"] });
schemaNotes.add(reference, { noun: "a name" });

/** A path, relative to the config file's folder. */
export const filePath = z
  .string()
  .min(1)
  .max(4096)
  .meta({ examples: ["../filters/blocklist.o"] });
schemaNotes.add(filePath, { noun: "a path" });

export function wholeNumber(minimum: number, maximum: number) {
  const schema = z.int().min(minimum).max(maximum);
  schemaNotes.add(schema, { noun: `a whole number from ${minimum} to ${maximum}` });
  return schema;
}

export function listOf<Item extends z.core.$ZodType>(item: Item) {
  const schema = z.array(item);
  schemaNotes.add(schema, { noun: "a list" });
  return schema;
}

export function blockOf<Key extends z.core.$ZodRecordKey, Value extends z.core.$ZodType>(
  key: Key,
  value: Value,
) {
  const schema = z.record(key, value);
  schemaNotes.add(schema, { noun: "a block of names" });
  return schema;
}

import { z } from "zod";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ObjectSpec } from "../object/object-spec.ts";

/**
 * An object as JSON: bytes as `{"$bytes": base64}`, 64-bit numbers as `{"$integer": digits}`. Map
 * contents are left out: they are read from the maps.
 */
export function encodeObject(object: ObjectSpec): Record<string, unknown> {
  return encode({
    ...object,
    maps: object.maps.map((map) => ({ ...map, contents: [] })),
    // What decoding found out besides types: strings by offset.
    btf: object.btf && { types: object.btf.types },
  }) as Record<string, unknown>;
}

/** Reads what `encodeObject` wrote. The outer shape is checked; instructions are when they are linked. */
export function decodeObject(json: unknown, where: string): Result<ObjectSpec, UserError> {
  const shape = objectShape.safeParse(decode(json));
  if (shape.success) return ok(shape.data as unknown as ObjectSpec);
  const [issue] = shape.error.issues;
  return err(
    new UserError(
      "OBJECT_JSON",
      where,
      `is no object: ${issue?.path.join(".")}: ${issue?.message}`,
      "use a weir command of the proxy's own version",
    ),
  );
}

const bytes = z.instanceof(Uint8Array);
const objectShape = z.object({
  file: z.string(),
  license: z.string(),
  programs: z.array(
    z.looseObject({
      name: z.string(),
      section: z.string(),
      bytecode: bytes,
      functions: z.array(z.looseObject({ name: z.string(), slot: z.int() })),
      lines: z.array(
        z.object({
          slot: z.int(),
          file: z.string(),
          line: z.int(),
          column: z.int(),
          text: z.string(),
        }),
      ),
    }),
  ),
  maps: z.array(
    z.looseObject({
      name: z.string(),
      type: z.string(),
      keySize: z.int().min(0),
      valueSize: z.int().min(0),
      maxEntries: z.int().min(0),
      flags: z.int(),
      contents: z.array(z.never()),
      slots: z.array(z.object({ index: z.int(), name: z.string() })),
    }),
  ),
  variables: z.array(z.looseObject({ name: z.string() })),
  refusedMaps: z
    .array(z.object({ name: z.string(), code: z.string(), what: z.string(), fix: z.string() }))
    .optional(),
  btf: z.object({ types: z.array(z.looseObject({ kind: z.string() })) }).optional(),
});

function encode(value: unknown): unknown {
  if (typeof value === "bigint") return { $integer: String(value) };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([name, inner]) => [name, encode(inner)]),
  );
}

function decode(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return new Uint8Array(Buffer.from(String(value.$bytes), "base64"));
  if ("$integer" in value && /^-?\d{1,20}$/.test(String(value.$integer)))
    return BigInt(String(value.$integer));
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, decode(inner)]));
}

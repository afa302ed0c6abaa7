import { createHash } from "node:crypto";
import { u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Btf, BtfType } from "./btf.ts";
import { sizeOfType } from "./btf-types.ts";
import { type ElfFile, type ElfSection, symbolTypes } from "./elf.ts";
import { type LocatedMap, mapSpec, tooManyMaps } from "./map-table.ts";
import { spinLockOffsets } from "./spin-lock.ts";

/**
 * Maps of a `maps` section: one `struct bpf_map_def` a symbol, all of the same length.
 *
 * The first 20 bytes are everyone's: type, key size, value size, entries, flags. iproute2's
 * `struct bpf_elf_map` (bpf_elf.h, 36 bytes) goes on with id, pinning, inner id and inner index.
 */
export function readLegacyMaps(
  elf: ElfFile,
  section: ElfSection,
  btf: Btf | undefined,
): Result<LocatedMap[], UserError> {
  const symbols = (elf.symbols.get(section.index) ?? [])
    .filter(
      ({ name, type }) => name !== "" && (type === symbolTypes.object || type === symbolTypes.none),
    )
    .sort((a, b) => a.value - b.value)
    .filter((symbol, i, all) => symbol.value !== all[i - 1]?.value);
  if (symbols.length === 0) return ok([]);
  const tooMany = tooManyMaps(elf.file, section.name, symbols.length);
  if (tooMany !== undefined) return err(tooMany);
  const size = section.size / symbols.length;
  if (size % 4 !== 0 || size < requiredBytes || section.bytes.length < section.size)
    return err(
      new UserError(
        "OBJECT_BAD_MAP",
        `${elf.file}, section "${section.name}"`,
        `${section.size} bytes for ${symbols.length} maps; each takes the same number, at least ${requiredBytes}`,
        'declare all maps of the section with the same struct, or use SEC(".maps")',
      ),
    );
  const maps: LocatedMap[] = [];
  const definitions: Definition[] = [];
  const annotations = keyValueAnnotations(btf);
  for (const symbol of symbols) {
    if (symbol.value % size !== 0)
      return err(
        new UserError(
          "OBJECT_BAD_MAP",
          `${elf.file}, map "${symbol.name}"`,
          `it begins at byte ${symbol.value} of section "${section.name}", whose maps take ${size} each`,
          "declare all maps of the section with the same struct",
        ),
      );
    const definition = readDefinition(section.bytes, symbol.value, size);
    const types = annotatedTypes(btf, annotations.get(symbol.name), definition);
    const spinLocks = btf === undefined ? [] : spinLockOffsets(btf, types.valueType);
    const pinName = definition.pinsWithinObject ? `${digestOf(elf)}/${symbol.name}` : undefined;
    const made = mapSpec(elf.file, symbol.name, { ...definition, ...types, spinLocks, pinName });
    if ("error" in made) return err(made.error);
    definitions.push(definition);
    maps.push({
      spec: made.spec,
      section: section.index,
      offset: symbol.value,
      size,
      ...(definition.id === undefined ? {} : { id: definition.id }),
    });
  }
  return ok(nest(maps, definitions));
}

const requiredBytes = 16;
const iproute2Bytes = 36;

/** bpf_elf.h. Greater ones are of /etc/iproute2/bpf_pinning; what that does not name is not pinned. */
const PIN_OBJECT_NS = 1;
const PIN_GLOBAL_NS = 2;

/** Tells objects apart, as the hash of the file that iproute2 takes: bpf_obj_hash, lib/bpf_legacy.c. */
function digestOf({ sections }: ElfFile): string {
  const hash = createHash("sha256");
  for (const { bytes } of sections) hash.update(bytes);
  return hash.digest("hex").slice(0, 32);
}

interface Definition {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly id: number | undefined;
  readonly pinned: boolean;
  /** Only with other copies of this object. */
  readonly pinsWithinObject: boolean;
  readonly innerId: number;
  /** Where an inner map is put in its outer map at load; negative for nowhere. */
  readonly innerIndex: number;
}

function readDefinition(bytes: Uint8Array, at: number, size: number): Definition {
  const field = (offset: number): number => (offset + 4 <= size ? u32le(bytes, at + offset) : 0);
  // Between 20 and 36 bytes each loader had a layout of its own; only iproute2's whole one is certain.
  const iproute2 = size >= iproute2Bytes;
  return {
    type: field(0),
    keySize: field(4),
    valueSize: field(8),
    maxEntries: field(12),
    flags: field(16),
    id: iproute2 ? field(20) : undefined,
    pinned: iproute2 && [PIN_OBJECT_NS, PIN_GLOBAL_NS].includes(field(24)),
    pinsWithinObject: iproute2 && field(24) === PIN_OBJECT_NS,
    innerId: iproute2 ? field(28) : 0,
    innerIndex: iproute2 ? field(32) | 0 : -1,
  };
}

/** BPF_ANNOTATE_KV_PAIR: a struct `____btf_map_NAME` with members `key` and `value` gives the types. */
const annotationPrefix = "____btf_map_";

function keyValueAnnotations(btf: Btf | undefined): ReadonlyMap<string, BtfType> {
  const structs = new Map<string, BtfType>();
  for (const type of btf?.types ?? [])
    if (type.kind === "struct" && type.name.startsWith(annotationPrefix))
      structs.set(type.name.slice(annotationPrefix.length), type);
  return structs;
}

function annotatedTypes(
  btf: Btf | undefined,
  pair: BtfType | undefined,
  { keySize, valueSize }: Definition,
) {
  if (btf === undefined || pair?.kind !== "struct")
    return { keyType: undefined, valueType: undefined };
  const typeOf = (member: string, size: number): number | undefined => {
    const type = pair.members.find((candidate) => candidate.name === member)?.type;
    return type !== undefined && sizeOfType(btf, type) === size ? type : undefined;
  };
  return { keyType: typeOf("key", keySize), valueType: typeOf("value", valueSize) };
}

/** Gives outer maps their template, the map whose id they name; it is put where its index says. */
function nest(maps: readonly LocatedMap[], definitions: readonly Definition[]): LocatedMap[] {
  return maps.map((map, i) => {
    if (map.spec.type !== "array_of_maps" && map.spec.type !== "hash_of_maps") return map;
    const { innerId } = definitions[i]!;
    const j = maps.findIndex((candidate) => candidate !== map && candidate.id === innerId);
    if (j < 0) return map;
    const inner = maps[j]!.spec;
    const index = definitions[j]!.innerIndex;
    return {
      ...map,
      spec: { ...map.spec, inner, slots: index < 0 ? [] : [{ index, name: inner.name }] },
    };
  });
}

import type { Btf, BtfType } from "../object/btf.ts";
import { resolveType, sizeOfType } from "../object/btf-types.ts";
import type { MapSpec } from "../object/object-spec.ts";
import { isAddress, isNetworkOrder, isText, prefixAddressBytes } from "../object/value-shapes.ts";
import { maxLabelBytes, maxLabelLength } from "./decoders/compile-label.ts";
import { cpuLabel } from "./map-binding.ts";
import type { DecoderSpec, LabelSpec } from "./map-metric-spec.ts";

/** Members of a key that become labels of their own; a key of more is one label in hex. */
const maxParts = 16;

/** The label of a key that has no members' names to give. */
const wholeKey = "key";

const filler = /^_*(pad|padding|reserved|rsvd|unused)\d*_*$/i;

/** Whether a member only fills a struct up, by its name. */
export function isFiller(name: string): boolean {
  return filler.test(name);
}

/** A run of a key's bytes that one label shows. */
interface KeyPart {
  readonly words: readonly string[];
  readonly offset: number;
  readonly size: number;
  readonly decoders: readonly DecoderSpec[];
}

/**
 * Labels for all of a map's key, by its BTF type: one for each member of a struct, or one called
 * `key`, after the enum where it is one. Addresses are shown as such, enums by their names, text as
 * text, numbers as numbers, and what is none of these in hex. No labels where the map has one entry
 * only; undefined where the key has no type or is too long for a label.
 */
export function keyLabels(btf: Btf, map: MapSpec): readonly LabelSpec[] | undefined {
  if (map.maxEntries === 1 && map.type.includes("array")) return [];
  const { keyType, keySize } = map;
  if (keyType === undefined || sizeOfType(btf, keyType) !== keySize) return undefined;
  const parts = keyParts(btf, keyType);
  const labels = parts === undefined ? undefined : labelsOf(parts, map);
  if (labels !== undefined) return labels;
  if (keySize * 2 > maxLabelLength) return undefined;
  return [{ name: wholeKey, size: keySize, padding: 0, decoders: [{ name: "hex" }] }];
}

/** Labels that cover a key without a gap but padding; undefined where the parts do not. */
function labelsOf(parts: readonly KeyPart[], map: MapSpec): readonly LabelSpec[] | undefined {
  if (parts.length === 0 || parts[0]?.offset !== 0) return undefined;
  const labels: LabelSpec[] = [];
  const names = new Set<string>();
  for (const [i, { words, offset, size, decoders }] of parts.entries()) {
    const next = parts[i + 1]?.offset ?? map.keySize;
    const padding = next - offset - size;
    const name = labelName(words, size, map, i === parts.length - 1);
    if (padding < 0 || names.has(name)) return undefined;
    names.add(name);
    labels.push({ name, size, padding, decoders });
  }
  return labels;
}

/** A label's name; Prometheus keeps those beginning with two underscores to itself. */
function labelName(
  words: readonly string[],
  size: number,
  { type }: MapSpec,
  last: boolean,
): string {
  const name = words.join("_").replace(/^_+(?=.)/, "");
  const readsCpu = last && name === cpuLabel.name && size === cpuLabel.size;
  return readsCpu && type.includes("percpu") ? `${wholeKey}_${name}` : name;
}

/** A key's parts in the order of their bytes; undefined where they are too many or overlap. */
function keyParts(btf: Btf, root: number): readonly KeyPart[] | undefined {
  const parts: KeyPart[] = [];
  /** False: this cannot be told apart into labels. */
  const visit = (id: number, words: readonly string[], offset: number): boolean => {
    const type = resolveType(btf, id);
    const size = sizeOfType(btf, id);
    if (size === undefined || parts.length >= maxParts) return false;
    const decoders = decodersOf(btf, id, type, size);
    if (decoders !== undefined) {
      const enumName = words.length === 0 && type.kind === "enum" ? type.name : "";
      const named = words.length > 0 ? words : [enumName === "" ? wholeKey : enumName];
      parts.push({ words: named, offset, size, decoders });
      return true;
    }
    const prefix = prefixAddressBytes(btf, type);
    if (prefix !== undefined) {
      parts.push(
        { words: [...words, "prefixlen"], offset, size: 4, decoders: [{ name: "uint" }] },
        {
          words: [...words, "address"],
          offset: offset + 4,
          size: prefix,
          decoders: [{ name: "inet_ip" }],
        },
      );
      return true;
    }
    if (type.kind === "union") {
      const full = type.members.filter((member) => sizeOfType(btf, member.type) === size);
      const whole = full.find((member) => isAddress(btf, member.type)) ?? full[0];
      return whole !== undefined && visit(whole.type, withName(words, whole.name), offset);
    }
    if (type.kind !== "struct") return false;
    return type.members.every(
      ({ name, type: member, bitOffset, bitSize }) =>
        (bitOffset > 0 && isFiller(name)) ||
        (bitSize === 0 && visit(member, withName(words, name), offset + bitOffset / 8)),
    );
  };
  return visit(root, [], 0) ? parts : undefined;
}

function withName(words: readonly string[], name: string): readonly string[] {
  return name === "" ? words : [...words, name];
}

/** How a type's bytes become text in one label; undefined for structs and unions of several. */
function decodersOf(
  btf: Btf,
  id: number,
  type: BtfType,
  size: number,
): readonly DecoderSpec[] | undefined {
  if (isAddress(btf, id) && (size === 4 || size === 16)) return [{ name: "inet_ip" }];
  switch (type.kind) {
    case "int": {
      if (![1, 2, 4, 8].includes(size)) return hexOf(size);
      if (isNetworkOrder(btf, id)) return [{ name: "uint_be" }];
      return [{ name: type.signed && !type.bool ? "int" : "uint" }];
    }
    case "enum": {
      const table = type.values.map(({ name, value }) => [String(value), name] as const);
      return [
        { name: type.signed ? "int" : "uint" },
        { name: "static_map", static_map: Object.fromEntries(table), allow_unknown: true },
      ];
    }
    case "array":
      if (isText(btf, type)) return size > maxLabelBytes ? undefined : [{ name: "string" }];
      // An IPv6 address as the kernel's structs have it: four words in network order.
      if (size === 16 && isAddress(btf, type.type)) return [{ name: "inet_ip" }];
      return hexOf(size);
    case "struct":
    case "union":
      return undefined;
    default:
      return hexOf(size);
  }
}

function hexOf(size: number): readonly DecoderSpec[] | undefined {
  return size === 0 || size * 2 > maxLabelLength ? undefined : [{ name: "hex" }];
}

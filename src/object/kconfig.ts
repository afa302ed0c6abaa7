import type { Btf } from "./btf.ts";
import type { DecodedBtf } from "./btf-decode.ts";
import { isNamed, resolveType, sizeOfType } from "./btf-types.ts";
import { type ElfFile, symbolBindings, undefinedSection } from "./elf.ts";
import { dataSectionMap, type LocatedMap } from "./map-table.ts";

/** In place of a section's number: the variables of `.kconfig` are in no section of the file. */
export const kconfigSection = -1;

/** The kernel that programs shall take this for: that whose results theirs are held to. */
const kernelVersion = (6 << 16) | (18 << 8);

/**
 * What a kernel's configuration says of things that are as well here. `y` is a switch that is on.
 * libbpf documentation, "Kconfig externs"; LINUX_* are libbpf's own.
 */
const options: ReadonlyMap<string, "y" | number> = new Map<string, "y" | number>([
  ["LINUX_KERNEL_VERSION", kernelVersion],
  ["LINUX_HAS_BPF_COOKIE", 0],
  ["LINUX_HAS_SYSCALL_WRAPPER", 0],
  ["CONFIG_64BIT", "y"],
  ["CONFIG_BPF", "y"],
  ["CONFIG_BPF_JIT", "y"],
  ["CONFIG_BPF_SYSCALL", "y"],
  ["CONFIG_CGROUP_BPF", "y"],
  ["CONFIG_HZ", 250],
  ["CONFIG_INET", "y"],
  ["CONFIG_IPV6", "y"],
  ["CONFIG_NET", "y"],
  ["CONFIG_NET_ACT_BPF", "y"],
  ["CONFIG_NET_CLS_ACT", "y"],
  ["CONFIG_NET_CLS_BPF", "y"],
  ["CONFIG_NET_SCH_INGRESS", "y"],
  ["CONFIG_NET_XGRESS", "y"],
  ["CONFIG_VLAN_8021Q", "y"],
]);

/** The map of `.kconfig`, and where in its value each variable lies. */
export interface Kconfig {
  readonly map: LocatedMap;
  readonly offsets: ReadonlyMap<string, number>;
}

/**
 * The variables that an object declares `__kconfig`. One that is weak and unknown is 0; one that is
 * unknown and not weak is left out, and what uses it is refused.
 */
export function readKconfig(elf: ElfFile, btf: DecodedBtf): Kconfig | undefined {
  const listed = btf.types[btf.sections.get(".kconfig") ?? 0];
  if (listed?.kind !== "section") return undefined;
  const bindings = new Map(
    (elf.symbols.get(undefinedSection) ?? []).map(({ name, binding }) => [name, binding]),
  );
  const offsets = new Map<string, number>();
  const values: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  let size = 0;
  for (const { type: id } of listed.variables) {
    const variable = btf.types[id];
    if (variable?.kind !== "variable") continue;
    const { name, type } = variable;
    const weak = bindings.get(name) === symbolBindings.weak;
    const bytes = optionBytes(btf, type, options.get(name), weak);
    if (bytes === undefined) continue;
    // Every value at a multiple of the largest a register loads.
    offsets.set(name, size);
    values.push({ at: size, bytes });
    size += Math.ceil(bytes.length / registerBytes) * registerBytes;
  }
  if (size === 0) return undefined;
  const contents = new Uint8Array(size);
  for (const { at, bytes } of values) contents.set(bytes, at);
  const spec = dataSectionMap(".kconfig", size, contents, undefined);
  return { map: { spec, section: kconfigSection, offset: 0, size }, offsets };
}

const registerBytes = 8;
const maxTextBytes = 4096;

/** Undefined where the option is unknown, or is none that a variable of this type can hold. */
function optionBytes(
  btf: Btf,
  type: number,
  option: "y" | number | undefined,
  weak: boolean,
): Uint8Array | undefined {
  const size = sizeOfType(btf, type);
  if (size === undefined || size === 0 || size > maxTextBytes) return undefined;
  const bytes = new Uint8Array(size);
  if (option === undefined) return weak ? bytes : undefined;
  const resolved = resolveType(btf, type);
  if (option === "y") {
    const isSwitch =
      (resolved.kind === "int" && resolved.bool) ||
      (resolved.kind === "enum" && isNamed(btf, type, ["libbpf_tristate"]));
    const isLetter = resolved.kind === "int" && resolved.size === 1 && !resolved.bool;
    if (!isSwitch && !isLetter) return undefined;
    bytes[0] = isLetter ? "y".charCodeAt(0) : 1;
    return bytes;
  }
  if (resolved.kind !== "int" || (resolved.bool && option > 1)) return undefined;
  if (size < 4 && option >= 2 ** (8 * size - 1)) return undefined;
  for (let i = 0; i < Math.min(size, 4); i++) bytes[i] = (option >>> (8 * i)) & 0xff;
  return bytes;
}

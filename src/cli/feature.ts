import { maxCallbacks } from "../engine/engine.ts";
import { helpers } from "../engine/helpers/helper-table.ts";
import { opcodeTable } from "../isa/opcodes.ts";
import { whyUnavailable } from "../object/map-rules.ts";
import { type MapType, mapTypes, type ProgramType, programTypes } from "../object/object-spec.ts";
import { unavailableHelpers } from "../verifier/unavailable-helpers.ts";
import { type ExitCode, exitCodes, type Terminal, table } from "./terminal.ts";

export interface FeatureOptions {
  readonly json?: boolean;
}

/** Something that eBPF knows: whether it works here, and if not, why. */
interface Feature {
  readonly name: string;
  /** Absent where it is supported. */
  readonly reason?: string;
}

interface HelperFeature extends Feature {
  readonly id: number;
  /** Program types that may call it. */
  readonly types: readonly ProgramType[];
}

/** Kinds of instruction that only a kernel can make sense of. */
const refusedKinds: ReadonlyMap<string, string> = new Map([
  ["call_btf", "calls a function of the kernel (kfunc)"],
  ["load_variable", "takes the address of a variable of the kernel"],
]);

/** bpftool's names of what runs nowhere near a packet's way through a proxy. */
const otherProgramTypes: readonly (readonly [reason: string, types: readonly string[]])[] = [
  [
    "watches or guards the kernel itself",
    ["kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable", "tracing"],
  ],
  ["watches or guards the kernel itself", ["lsm", "struct_ops", "ext", "syscall"]],
  [
    "works on kernel sockets",
    ["sock_ops", "sk_skb", "sk_msg", "sk_reuseport", "sk_lookup", "flow_dissector", "netfilter"],
  ],
  [
    "belongs to a cgroup of the kernel",
    ["cgroup_sock", "cgroup_device", "cgroup_sock_addr", "cgroup_sysctl", "cgroup_sockopt"],
  ],
  [
    "belongs to lightweight tunnels of the kernel's routes",
    ["lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"],
  ],
  ["belongs to infrared remote controls", ["lirc_mode2"]],
];

/** What a verified program may run into here, where a kernel has another limit. */
const limits = [
  {
    name: "iterations of bpf_loop and bpf_for_each_map_elem, a run in all",
    value: maxCallbacks,
    kernel: `${maxCallbacks} a call of bpf_loop`,
  },
] as const;

/** `weir feature`: what of eBPF works here, and of the rest why it does not. */
export function feature(options: FeatureOptions, terminal: Terminal): ExitCode {
  const all = {
    instructions: instructionFeatures(),
    program_types: programTypeFeatures(),
    map_types: mapTypeFeatures(),
    helpers: helperFeatures(),
  };
  if (options.json) {
    const supported = ({ reason, ...rest }: Feature): object =>
      reason === undefined ? { ...rest, supported: true } : { ...rest, supported: false, reason };
    const entries = Object.entries(all).map(([what, list]) => [what, list.map(supported)]);
    terminal.out(`${JSON.stringify({ ...Object.fromEntries(entries), limits })}\n`);
    return exitCodes.done;
  }
  terminal.out(`${section("Instructions", all.instructions)}
${section("Program types", all.program_types)}
${section("Map types", all.map_types)}
${helperSection(all.helpers)}Limits other than the kernel's
${table(limits.map(({ name, value, kernel }) => [`  ${name}`, `${value} (kernel: ${kernel})`]))}
`);
  return exitCodes.done;
}

/** One a mnemonic: rows of the table that differ in their operands alone are one instruction. */
function instructionFeatures(): Feature[] {
  const byName = new Map<string, Feature>();
  for (const { name, form } of opcodeTable) {
    const reason = refusedKinds.get(form.kind);
    const shown = reason === undefined ? name : `${name} (${form.kind})`;
    byName.set(shown, reason === undefined ? { name: shown } : { name: shown, reason });
  }
  return [...byName.values()];
}

function programTypeFeatures(): Feature[] {
  return [
    ...programTypes.map((name) => ({ name })),
    ...otherProgramTypes.flatMap(([reason, types]) => types.map((name) => ({ name, reason }))),
  ];
}

function mapTypeFeatures(): Feature[] {
  return (Object.keys(mapTypes) as MapType[]).map((name) => {
    const reason = whyUnavailable(name);
    return reason === undefined ? { name } : { name, reason };
  });
}

function helperFeatures(): HelperFeature[] {
  const available = [...helpers.values()].map(({ id, name, types }) => ({ id, name, types }));
  const missing = [...unavailableHelpers.values()].map((one) => ({ ...one, types: [] }));
  return [...available, ...missing].sort((a, b) => a.id - b.id);
}

function section(title: string, features: readonly Feature[]): string {
  const there = features.filter(({ reason }) => reason === undefined).map(({ name }) => name);
  return `${title}: ${there.length} of ${features.length}\n${wrap(there)}${missingTable(features)}`;
}

function helperSection(features: readonly HelperFeature[]): string {
  const there = features.filter(({ reason }) => reason === undefined);
  const groups = new Map<string, string[]>();
  for (const { name, types } of there) {
    const callers = programTypes.filter((type) => types.includes(type)).join(", ");
    const names = groups.get(callers) ?? [];
    groups.set(callers, [...names, `bpf_${name}`]);
  }
  const lists = [...groups].map(([callers, names]) => `  called by ${callers}:\n${wrap(names, 4)}`);
  const named = features.map((one) => ({ ...one, name: `bpf_${one.name} (${one.id})` }));
  return `Helpers: ${there.length} of ${features.length}\n${lists.join("")}${missingTable(named)}`;
}

function missingTable(features: readonly Feature[]): string {
  const missing = features.flatMap(({ name, reason }) =>
    reason === undefined ? [] : [[`    ${name}`, reason]],
  );
  return missing.length === 0 ? "" : `  not supported:\n${table(missing)}\n`;
}

const lineChars = 100;

/** Words with commas between them, in lines. */
function wrap(words: readonly string[], indent = 2): string {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line !== "" && indent + line.length + word.length + 3 > lineChars) {
      lines.push(`${line},`);
      line = "";
    }
    line = line === "" ? word : `${line}, ${word}`;
  }
  return [...lines, line].map((one) => `${" ".repeat(indent)}${one}\n`).join("");
}

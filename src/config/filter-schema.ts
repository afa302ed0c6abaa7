import { z } from "zod";
import type { EngineKind } from "../engine/engine.ts";
import { verdictKinds } from "../filter/verdict.ts";
import { mapMetricsSchema } from "../metrics/map-metric-schema.ts";
import {
  block,
  blockOf,
  choice,
  filePath,
  listOf,
  schemaNotes,
  wholeNumber,
} from "./schema-parts.ts";

/** The engine of filters that name none. */
const defaultEngine: EngineKind = "jit";

/** A number, a text (address, CIDR, hex:), a list or a block, as the map's BTF type asks. */
const typedValue = z.unknown().refine((value) => value !== undefined && value !== null, {
  error: "the value is missing",
  params: { fix: "write a number, an address, a list or a block" },
});
schemaNotes.add(typedValue, { noun: "a value" });

const identifier = z
  .string()
  .min(1)
  .max(255)
  .meta({ examples: ["xdp_blocklist"] });
schemaNotes.add(identifier, { noun: "a name of the object" });

const programText = z
  .string()
  .min(1)
  .max(1_048_576)
  .meta({ examples: ["udp port 53"] });
schemaNotes.add(programText, { noun: "a text" });

export const entrySchema = block({
  key: typedValue
    .optional()
    .describe(
      "The key, typed by the map's BTF: a number, address, CIDR, list or block of members, or hex: and its bytes. Queues, stacks and bloom filters have none.",
    ),
  value: typedValue.describe("The value, in the same forms."),
});

export const mapSchema = block({
  entries: listOf(entrySchema)
    .default([])
    .describe(
      "Entries written before the first packet. Named, not numbered, are a port's upstream in a devmap or xskmap, a program in a prog_array, a map of the object in a map of maps.",
    ),
  file: filePath
    .optional()
    .describe(
      "A CSV file of more entries: a line each, key,value; # begins a comment. Relative to the config file.",
    ),
  innerOf: identifier
    .optional()
    .describe(
      "Makes the map: one more of those that this map of maps of the object is declared to hold. An entry of that one puts it there, by name.",
    ),
  maxEntries: wholeNumber(1, 4_294_967_295)
    .optional()
    .describe("With innerOf: its max_entries, where the declaration's is not right."),
  pin: z
    .boolean()
    .default(false)
    .describe(
      "Keep its contents in stateDir: read at the start, saved every 30 seconds and at the end.",
    ),
});

const filterMetrics = z.union([z.literal("auto"), mapMetricsSchema]);
schemaNotes.add(filterMetrics, { noun: "auto or a block of keys" });

export const filterSchema = block({
  object: filePath
    .optional()
    .describe("ELF object that clang built with -target bpf. Relative to the config file."),
  expression: programText
    .optional()
    .describe(
      "Instead of an object: a tcpdump expression, in the language of pcap-filter(7), such as: udp port 53.",
    ),
  bytecode: programText
    .optional()
    .describe(
      "Instead of an object: classic BPF as tcpdump -ddd prints it, or eBPF in assembly text.",
    ),
  program: identifier
    .optional()
    .describe("Its program, by function name. Needed where the object holds several."),
  section: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ examples: ["xdp"] })
    .describe(
      "Its program, by ELF section, instead of program. For bytecode: what kind of program it is; without it socket for classic BPF, xdp for eBPF.",
    ),
  globals: blockOf(identifier, typedValue)
    .default({})
    .describe("Values of global variables, by name, set before the programs are loaded."),
  maps: blockOf(identifier, mapSchema)
    .default({})
    .describe("Contents of the object's maps, by name."),
  metrics: filterMetrics
    .optional()
    .describe(
      "Metrics read from the object's maps, in the form of cloudflare/ebpf_exporter; or auto, which makes them and their labels from the maps' BTF types.",
    ),
  continueOn: listOf(choice(verdictKinds))
    .default(["pass"])
    .describe("Verdicts after which the chain asks its next filter; any other ends it."),
  onMatch: choice(["pass", "drop"])
    .optional()
    .describe(
      "With expression: what becomes of a packet that matches. Without it: pass. Not the same as onMiss.",
    ),
  onMiss: choice(["pass", "drop"])
    .optional()
    .describe("With expression: what becomes of a packet that does not match. Without it: drop."),
  engine: choice(["interpreter", "jit"])
    .default(defaultEngine)
    .describe(
      "What runs it: jit, which compiles it to WebAssembly, or the interpreter, which also runs what is too large to compile.",
    ),
  onSchemaChange: choice(["refuse", "reset"])
    .default("refuse")
    .describe(
      "What a reload does where the type, key size, value size or flags of one of its maps changed, or it has fewer entries: refuse the config, or let the map start empty.",
    ),
  shadow: z
    .boolean()
    .default(false)
    .describe(
      "A candidate: asked about packets where chains name it, without effect on them, and its verdicts compared with the chains', until weir filter promote makes it live. Maps that it would share by pinning are its own meanwhile.",
    ),
});

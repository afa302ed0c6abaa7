import { Argument, type Command, Option } from "commander";
import { logLevels } from "../admin/control.ts";
import { directions, verdictKinds } from "../filter/verdict.ts";
import type { ControlOptions } from "./control-client.ts";
import { mapOptionHelp } from "./map-option-help.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

/** Commands are the program's, or under one of its groups. */
export interface CommandGroups {
  readonly weir: Command;
  readonly prog: Command;
  readonly filter: Command;
}

/** The commands that ask or change a running proxy, shaped as bpftool's. */
export function addControlCommands(
  { weir, prog, filter }: CommandGroups,
  terminal: Terminal,
  done: (code: ExitCode) => void,
): void {
  addProgCommands(prog, terminal, done);
  addMapCommands(weir.command("map").description("maps of a running proxy"), terminal, done);
  for (const action of ["enable", "disable"] as const)
    controlled(
      filter
        .command(action)
        .description(
          action === "enable"
            ? "put a filter of a running proxy back into its chains"
            : "take a filter of a running proxy out of its chains",
        )
        .argument("<filter>", "its name, or filter:program"),
    ).action(async (name: string, options: ControlOptions) => {
      const { filterSet } = await import("./filter-control.ts");
      done(await filterSet(action, name, options, terminal));
    });
  controlled(
    filter
      .command("shadow")
      .description("what filters with shadow: true say of a running proxy's packets")
      .argument("[filter]", "only this one"),
  ).action(async (name: string | undefined, options: ControlOptions) => {
    const { filterShadow } = await import("./filter-control.ts");
    done(await filterShadow(name, options, terminal));
  });
  controlled(
    filter
      .command("swap")
      .description("give a filter of a running proxy another object, all or nothing as a reload")
      .argument("<filter>", "its name")
      .argument("[object]", "ELF file, with :section where the config's program is not in it")
      .option("--program <name>", "program of the object, instead of a section")
      .option("--undo", "instead of an object: again what the config names"),
  ).action(async (name: string, object: string | undefined, options) => {
    const { filterSwap } = await import("./filter-control.ts");
    done(await filterSwap(name, object, options, terminal));
  });
  controlled(
    filter
      .command("promote")
      .description("make a filter with shadow: true live, with its maps")
      .argument("<filter>", "its name")
      .option("--instead-of <filter>", "disable this one at once"),
  ).action(async (name: string, options) => {
    const { filterPromote } = await import("./filter-control.ts");
    done(await filterPromote(name, options, terminal));
  });
  controlled(weir.command("list").description("filters of a running proxy, a line each")).action(
    async (options: ControlOptions) => {
      const { listFilters } = await import("./filter-control.ts");
      done(await listFilters(options, terminal));
    },
  );
  controlled(
    weir
      .command("top")
      .description("packets, drops and runs a second of a running proxy")
      .option("--interval <seconds>", "between two readings", "1")
      .option("--once", "one reading, and done"),
  ).action(async (options) => {
    const { top } = await import("./top.ts");
    done(await top(options, terminal));
  });
  controlled(
    weir
      .command("capture")
      .description("packets at the chains of a running proxy, with their verdicts")
      .option("--expr <expression>", "only those that match, in the language of pcap-filter(7)")
      .addOption(
        new Option("--verdict <verdict>", "only those of this verdict").choices(verdictKinds),
      )
      .option("--filter <filter>", "only those that this filter was asked about")
      .option("--listener <listener>", "only this listener's")
      .option("--shadow [filter]", "only those on which this shadow differs from its chain, or any")
      .addOption(new Option("--direction <direction>", "only this direction's").choices(directions))
      .option("-c, --count <n>", "end after this many")
      .option("-w, --write <file>", "write pcapng instead of lines; - for standard output")
      .option("--outer", "with -w: tunnels' frames within their outer packets")
      .option("--rate <n>", "at most this many a second and worker; others are counted as lost")
      .option("--snap-length <bytes>", "bytes of a packet that are kept"),
  ).action(async (options) => {
    const { capture } = await import("./capture.ts");
    done(await capture(options, terminal));
  });
  eventCommand(
    "events",
    weir
      .command("events")
      .description("what filters of a running proxy write into ringbufs and perf_event_arrays")
      .argument("[map...]", "only this map's: a name, filter/name or number"),
    terminal,
    done,
  );
  controlled(
    weir
      .command("explain")
      .description(
        "why a packet is passed or dropped: it runs once more, instruction by instruction",
      )
      .argument("<packet>", "hex from the Ethernet header on, or a capture file")
      .option("--packet <n>", "which packet of the capture file, from 0", "0")
      .option("-c, --config <file>", "with this config, instead of a running proxy and its maps")
      .option(
        "--listener <listener>",
        "through this listener's chain (default: what the capture says)",
      )
      .option("--filter <filter>", "through this filter alone")
      .addOption(
        new Option(
          "--direction <direction>",
          "of the listener's chains (default: ingress, or what the capture says)",
        ).choices(directions),
      )
      .option("--brief", "the verdict and what decided it, without the instructions")
      .addHelpText(
        "after",
        `
A file that weir capture -w wrote says of each packet which listener's chain it met, and in which
direction: that is what is explained, unless the options say otherwise. Packets are numbered from 0, as
weir filter match numbers them: what Wireshark shows as No. 1 is --packet 0.`,
      ),
  ).action(async (packet: string, options) => {
    const { explain } = await import("./explain.ts");
    done(await explain(packet, options, terminal));
  });
  controlled(
    weir.command("reload").description("have a running proxy read its config again"),
  ).action(async (options: ControlOptions) => {
    const { reload } = await import("./prog-control.ts");
    done(await reload(options, terminal));
  });
  controlled(
    weir
      .command("log-level")
      .description("show or set a running proxy's log level")
      .addArgument(new Argument("[level]", "set it to this").choices(logLevels)),
  ).action(async (level: string | undefined, options: ControlOptions) => {
    const { logLevel } = await import("./prog-control.ts");
    done(await logLevel(level, options, terminal));
  });
}

function addProgCommands(prog: Command, terminal: Terminal, done: (code: ExitCode) => void): void {
  for (const [name, argument, description] of [
    ["list", "[program...]", "programs of a running proxy, or with --object of an object"],
    ["show", "[program...]", "programs: all, or those that are named"],
  ] as const)
    controlled(
      prog
        .command(name)
        .description(description)
        .argument(argument, "a name or number, or id N, name NAME, tag TAG")
        .option("--object <file>", "of this object, instead of a running proxy"),
    ).action(async (words: string[], options) => {
      const { progShow } = await import("./prog-control.ts");
      done(await progShow(name, words, options, terminal));
    });
  const dump = prog.command("dump").description("a program's instructions, or what it became");
  controlled(
    dump
      .command("xlated")
      .description("eBPF, with source lines")
      .argument(
        "[program...]",
        "a program or an object (and its program), then opcodes, linum or visual (a graph for dot)",
      )
      .option("--object <file>", "of this object, instead of a running proxy"),
  ).action(async (words: string[], options) => {
    const { progDumpXlated } = await import("./prog-control.ts");
    done(await progDumpXlated(words, options, terminal));
  });
  controlled(
    dump
      .command("wasm")
      .description("the WebAssembly that the JIT makes of a program, as text")
      .argument("[object|program...]", "an ELF object, or a program of a running proxy")
      .option("--object <file>", "of this object, instead of a running proxy")
      .option("--program <name>", "program of the object; needed where it holds several"),
    { json: false },
  ).action(async (words: string[], options) => {
    const { progDumpWasm } = await import("./prog-dump-wasm.ts");
    done(await progDumpWasm(words, options, terminal));
  });
  controlled(
    prog
      .command("trace")
      .description("a program on packets that are given, instruction by instruction")
      .argument(
        "<object|program...>",
        "an ELF object, or a program of a running proxy, on a copy of its maps",
      )
      .option("--program <name>", "which program of the object")
      .option("--data <hex>", "one packet's bytes; repeat for more", collect, [])
      .option(
        "--pcap <file>",
        "packets of a capture (pcap or pcapng); repeat for more",
        collect,
        [],
      )
      .option("--map <name=key:value>", "set a map entry first; repeat for more", collect, [])
      .option("--global <name=value>", "set a global variable first; repeat for more", collect, [])
      .option("--brief", "the verdict and what decided it, without the instructions")
      .addHelpText("after", mapOptionHelp),
  ).action(async (words: string[], options) => {
    const { progTrace } = await import("./prog-trace.ts");
    done(await progTrace(words, options, terminal));
  });
  controlled(
    prog
      .command("profile")
      .description("how long a program of a running proxy takes, of runs timed at random")
      .argument("<program...>", "a name or number, or id N, name NAME, tag TAG")
      .option("--duration <seconds>", "how long to watch", "5"),
  ).action(async (words: string[], options) => {
    const { progProfile } = await import("./prog-control.ts");
    done(await progProfile(words, options, terminal));
  });
}

function addMapCommands(map: Command, terminal: Terminal, done: (code: ExitCode) => void): void {
  for (const [name, argument, description] of [
    ["list", "[map...]", "all maps of a running proxy, or with --object of an object"],
    ["show", "[map...]", "maps: all, or those that are named"],
  ] as const)
    controlled(
      map
        .command(name)
        .description(description)
        .argument(argument, "a name, filter/name or number, or id N, name NAME")
        .option("--object <file>", "of this object, instead of a running proxy"),
    ).action(async (words: string[], options) => {
      const { mapShow } = await import("./map-control.ts");
      done(await mapShow(name, words, options, terminal));
    });
  controlled(
    map
      .command("dump")
      .description("all entries of a map")
      .argument("<map...>", "a name, filter/name or number, or id N, name NAME")
      .option("--raw", "keys and values as hex: and bytes"),
  ).action(async (words: string[], options) => {
    const { mapDump } = await import("./map-control.ts");
    done(await mapDump(words, options, terminal));
  });
  eventCommand(
    "map event_pipe",
    map
      .command("event_pipe")
      .description("what filters write into it, as it is read: weir events, for one map")
      .argument("<map...>", "a name, filter/name or number, or id N, name NAME"),
    terminal,
    done,
  );
  for (const [action, description] of [
    ["lookup", "the entry of a key: MAP key DATA"],
    ["getnext", "the key after a key: MAP [key DATA]"],
    [
      "update",
      "set an entry: MAP key DATA value DATA [any|noexist|exist]; or a variable: FILTER/.data NAME DATA",
    ],
    ["delete", "delete an entry: MAP key DATA"],
    ["push", "put a value onto a stack: MAP value DATA"],
    ["pop", "take the newest value off a stack"],
    ["enqueue", "put a value into a queue: MAP value DATA"],
    ["dequeue", "take the oldest value out of a queue"],
    ["peek", "the value that pop or dequeue would take"],
  ] as const)
    controlled(
      map
        .command(action)
        .description(description)
        .argument(
          "<words...>",
          "DATA is one typed word (203.0.113.0/24, 1, JSON), bytes (10 0 0 1), or hex and bytes",
        ),
    ).action(async (words: string[], options) => {
      const { mapEntry } = await import("./map-control.ts");
      done(await mapEntry(action, words, options, terminal));
    });
  addPinCommands(map, terminal, done);
}

/** bpftool's pin takes a file in bpffs; what a proxy keeps is in its own folder. */
function addPinCommands(map: Command, terminal: Terminal, done: (code: ExitCode) => void): void {
  for (const [action, description] of [
    ["pin", "keep a map in stateDir: saved now and as it changes, and put back at each start"],
    ["unpin", "keep it no longer, and remove its file"],
  ] as const)
    controlled(
      map
        .command(action)
        .description(description)
        .argument("<map...>", "a name, filter/name or number, or id N, name NAME"),
    ).action(async (words: string[], options) => {
      const { mapPin } = await import("./map-control.ts");
      done(await mapPin(action, words, options, terminal));
    });
}

/** `weir events`, which bpftool has as `map event_pipe`. */
function eventCommand(
  name: "events" | "map event_pipe",
  command: Command,
  terminal: Terminal,
  done: (code: ExitCode) => void,
): void {
  controlled(
    command
      .option("--filter <filter>", "only this filter's")
      .option("--type <struct>", "what they are (default: a struct of the map's name, or event)")
      .option("-c, --count <n>", "end after this many"),
  ).action(async (words: string[], options) => {
    const { events } = await import("./events.ts");
    done(await events(name, words, options, terminal));
  });
}

/** The options that all of these take; `json: false`: but for those that print something else. */
function controlled(command: Command, { json = true } = {}): Command {
  command
    .option(
      "--admin <address>",
      "the proxy's admin.listen (default: WEIR_ADMIN_LISTEN, else this user's own socket)",
    )
    .option(
      "--token-file <file>",
      "the token for an admin.listen that is an address and port (default, without --admin: WEIR_ADMIN_TOKEN_FILE)",
    );
  if (!json) return command;
  return command
    .option("-j, --json", "JSON instead of text")
    .addOption(new Option("-p, --pretty", "JSON over several lines").implies({ json: true }));
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

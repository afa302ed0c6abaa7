import { Command, Option } from "commander";

import { programTypes } from "../object/object-spec.ts";
import { addControlCommands } from "./control-commands.ts";
import { mapOptionHelp } from "./map-option-help.ts";
import type { ExitCode, Terminal } from "./terminal.ts";
import { version } from "./version.ts";

const netmaskHelp =
  "the network's, such as 255.255.255.0: what ip broadcast goes by; without it, it is refused";

const matchHelp = `
Packets are numbered from 0, by their place in the file. Packets of a link type that an expression
has no meaning for are left out and counted on standard error; with --json under left_out. The exit
code is 1 then, and where a capture is damaged or cut off: what was whole has been answered.

Examples:
  weir filter match "udp port 53 and not src net 10.0.0.0/8" capture.pcapng
  tcpdump -w - | weir filter match --json "tcp[tcpflags] & tcp-syn != 0" -`;

const verifyHelp = `
With --json a program has accepted, and where that is false error: code, where, what and fix, as errors
of other commands, and of what the verifier refused slot, instruction, source (file, line, column, text;
where the object tells) and registers. The exit code is 1 where any program is refused.`;

/**
 * The command line. `done` takes the exit code of the command that ran. A command's module is
 * imported when it is the one to run: `prog run` need not wait for the proxy's modules.
 */
export function commands(terminal: Terminal, done: (code: ExitCode) => void): Command {
  const weir: Command = new Command("weir")
    .description("A UDP/TCP proxy that runs every packet through eBPF filters in user space.")
    .version(version, "-V, --version")
    .showSuggestionAfterError(true)
    .showHelpAfterError('(add --help for all options, or run "weir --help")')
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.error })
    .exitOverride()
    .option("-j, --json", "before a command as bpftool takes it: JSON instead of text")
    .addOption(new Option("-p, --pretty", "likewise: JSON over several lines"))
    // What stands behind a command is the command's own.
    .enablePositionalOptions()
    .hook("preAction", (_weir, command) => passOn(weir.opts(), command))
    .addHelpText(
      "after",
      `
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or config.

Examples:
  weir run -c config/weir.yaml
  weir check -c config/weir.yaml
  weir prog run filters/blocklist.o --data 0200…0800450000…
  weir replay capture.pcap -c config/weir.yaml --listener echo-udp`,
    );

  weir
    .command("run")
    .description("run the proxy until SIGTERM or SIGINT; SIGHUP reads its config again")
    .requiredOption("-c, --config <file>", "the config (YAML); its keys: config/README.md")
    .option("--hints", "print commands to try once it is up")
    .action(async (options: { config: string; hints?: boolean }) => {
      const { run } = await import("./run.ts");
      done(await run(options, terminal));
    });

  weir
    .command("check")
    .description("validate a config, load and verify every filter and say what would run")
    .requiredOption(
      "-c, --config <file>",
      "the config (YAML); - is standard input, whose paths start at the working folder",
    )
    .option("--json", "one JSON object instead of text: what would run, or errors")
    .action(async (options: { config: string; json?: boolean }) => {
      const { check } = await import("./check.ts");
      done(await check(options, terminal));
    });

  weir
    .command("health")
    .description("whether a proxy runs here and answers: for a container's health check")
    .option("-j, --json", "one JSON object: whether it lives, and where; or what was asked in vain")
    .addHelpText(
      "after",
      `
Asked is the control API at its default socket or at WEIR_ADMIN_LISTEN, then /live at 127.0.0.1:9464
or at WEIR_METRICS_LISTEN, which also set these keys of the config. The exit code is 0 where one answers.`,
    )
    .action(async (options: { json?: boolean }) => {
      const { health } = await import("./health.ts");
      done(await health(terminal, options));
    });

  weir
    .command("verify")
    .description("say of each program of ELF objects whether it is proven safe, and if not, why")
    .argument(
      "<object...>",
      "built by clang -target bpf; with -g, lines of C are named; - is standard input",
    )
    .option("--program <name>", "only this program")
    .addOption(
      new Option("--type <type>", "the programs' type, instead of the section's").choices(
        programTypes.filter((type) => type !== "raw"),
      ),
    )
    .option("--log", "print what the verifier follows, in the form of the kernel's log")
    .option("--json", "one JSON object a program (and a line of the log) instead of text")
    .addHelpText("after", verifyHelp)
    .action(async (objects: string[], options) => {
      const { verify } = await import("./verify.ts");
      done(verify(objects, options, terminal));
    });

  weir
    .command("feature")
    .description("what of eBPF works here: instructions, program types, map types, helpers")
    .option("--json", "one JSON object instead of text")
    .action(async (options: { json?: boolean }) => {
      const { feature } = await import("./feature.ts");
      done(feature(options, terminal));
    });

  const prog = weir.command("prog").description("eBPF programs");
  prog
    .command("run")
    .description("run a program on packets offline: no proxy, no root")
    .argument("[object]", "ELF object built by clang -target bpf")
    .option("--program <name>", "which program of the object")
    .option("--insns <hex>", "raw instructions instead of an object, 8 bytes each")
    .option("--asm <file>", "assembly text instead of an object; - for standard input")
    .option(
      "--batch <file>",
      "JSON lines of programs in, JSON lines of results out; - for standard input",
    )
    .addOption(
      new Option(
        "--type <type>",
        "program type (with --insns and --asm, or to override the section's)",
      ).choices(programTypes),
    )
    .option("--data <hex>", "one packet's bytes; repeat for more", collect, [])
    .option("--pcap <file>", "packets of a capture (pcap or pcapng); repeat for more", collect, [])
    .option("--repeat <n>", "run each packet this many times, on what the run before left", "1")
    .addOption(
      new Option(
        "--engine <engine>",
        "what runs the program (default: jit, or interpreter where it is too large for that)",
      ).choices(["jit", "interpreter"]),
    )
    .option("--map <name=key:value>", "set a map entry first; repeat for more", collect, [])
    .option("--global <name=value>", "set a global variable first; repeat for more", collect, [])
    .option("--json", "one JSON line a packet, then one for the maps")
    .addHelpText(
      "after",
      `${mapOptionHelp}

Each line of a batch is a JSON object: {"id", "insns": HEX, "type": "raw"|"xdp"|"tc"|…, "data": HEX,
"engine": "interpreter"|"jit" (without it the interpreter), "maps": [{"type", "key_size", "value_size", "max_entries"}]}; lddw with source 1 names a map by index.
The answer is {"id", "ret"} (r0 as hex for raw), or {"id", "error": {"code", "message"}}.
A program that faults in a batch is an error; else its verdict is aborted, and the exit code 0.`,
    )
    .action(async (object: string | undefined, options) => {
      const { progRun } = await import("./prog-run.ts");
      done(await progRun(object, options, terminal));
    });
  weir
    .command("replay")
    .description("run the packets of a capture through a listener's filters, as if they came in")
    .argument("<file>", "the capture (pcap or pcapng); - for standard input")
    .requiredOption("-c, --config <file>", "the config (YAML)")
    .option("--listener <name>", "whose filters; may be left out where the config has one listener")
    .addOption(
      new Option("--direction <direction>", "which of its chains")
        .choices(["ingress", "egress"])
        .default("ingress"),
    )
    .option("-w <file>", "write what went on, as the filters left it; - for standard output")
    .option("--dropped <file>", "write what was dropped, as it came; - for standard output")
    .option(
      "--metrics <file>",
      "write the metrics as a scrape would find them; - for standard output",
    )
    .option("--json", "one JSON object instead of text")
    .addHelpText(
      "after",
      `
Filters see the capture's own time, so rate limits do what they would have done then. Packets of
IP and of Linux's "any" device get an Ethernet header. Files are written as pcapng, with verdict, filter
and reason as a comment on each packet; where the name ends in .pcap, as classic pcap without comments.
The exit code is 1 where the capture is damaged or cut off, after what was whole has been replayed.

Examples:
  weir replay capture.pcapng -c weir.yaml --listener dns -w passed.pcapng --dropped dropped.pcapng
  tcpdump -i any -w - | weir replay - -c weir.yaml --listener dns`,
    )
    .action(async (file: string, options) => {
      const { replay } = await import("./replay.ts");
      done(await replay(file, options, terminal));
    });
  const filter = weir
    .command("filter")
    .description("tcpdump expressions; filters of a running proxy");
  filter
    .command("compile")
    .description("show the program that an expression compiles to, as tcpdump -d does")
    .argument("<expression...>", "in the language of pcap-filter(7)")
    .option("-d", "listing (default); -dd as C, -ddd as decimal numbers", count)
    .option("--ebpf", "the eBPF that it is translated to")
    .option("--link-type <type>", "what the packets start with", "EN10MB")
    .option("-O", "do not optimise")
    .option("--netmask <mask>", netmaskHelp)
    .option("--json", "one JSON object instead of text")
    .action(async (words: string[], options) => {
      const { filterCompile } = await import("./filter-compile.ts");
      done(filterCompile(words.join(" "), options, terminal));
    });
  filter
    .command("match")
    .description("which packets of capture files an expression matches")
    .argument(
      "<expression|file...>",
      "an expression and capture files (pcap or pcapng); - for standard input",
    )
    .option("--exprs <file>", "expressions from a file, one a line, instead; - for standard input")
    .option("--netmask <mask>", netmaskHelp)
    .option("--json", "a JSON line for each expression and file")
    .addHelpText("after", matchHelp)
    .action(async (args: string[], options) => {
      const { filterMatch } = await import("./filter-match.ts");
      done(await filterMatch(args, options, terminal));
    });
  addControlCommands({ weir, prog, filter }, terminal, done);
  return weir;
}

/** Hands options that stood before a command to it, or refuses them as it does. */
function passOn(given: Readonly<Record<string, unknown>>, command: Command): void {
  for (const [name, flags] of [
    ["json", "-j, --json"],
    ["pretty", "-p, --pretty"],
  ] as const) {
    if (given[name] !== true) continue;
    if (!command.options.some((option) => option.attributeName() === name))
      command.error(`error: unknown option '${flags}' of ${command.name()}`, {
        code: "commander.unknownOption",
      });
    command.setOptionValue(name, true);
    if (name === "pretty") command.setOptionValue("json", true);
  }
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function count(_value: unknown, before: number | undefined): number {
  return (before ?? 0) + 1;
}

import { fileURLToPath } from "node:url";
import { CommanderError } from "commander";
import { commands } from "./commands.ts";
import { type EarlySignals, type ExitCode, exitCodes, type Terminal } from "./terminal.ts";
import { writeWhole } from "./whole-io.ts";

/**
 * The `weir` command: parses `argv` (without node and script), runs, and gives the exit code.
 * Whatever goes wrong, a user gets a sentence and not a stack trace; a bug in Weir says so and
 * prints its stack only where WEIR_DEBUG is set.
 */
export async function main(argv: readonly string[], early?: EarlySignals): Promise<ExitCode> {
  const terminal = { ...processTerminal(argv[0] === "run"), early };
  let code: ExitCode = exitCodes.done;
  const program = commands(terminal, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError)
      return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    terminal.error(`weir: ${describe(error)}\n`);
    return exitCodes.failed;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (process.env.WEIR_DEBUG) return error.stack ?? error.message;
  return `internal error: ${error.message} (this is a bug; WEIR_DEBUG=1 shows where)`;
}

function processTerminal(isServer: boolean): Terminal {
  // A reader that went away (`weir … | head`) is the end of a command's work, not an error; a proxy
  // goes on without the reader of its log.
  const onUnwritable = (error: NodeJS.ErrnoException): void => {
    if (isServer) return;
    if (error.code !== "EPIPE") process.stderr.write(`weir: standard output: ${error.message}\n`);
    process.exit(error.code === "EPIPE" ? exitCodes.done : exitCodes.failed);
  };
  process.stdout.on("error", onUnwritable);
  process.stderr.on("error", () => {});
  return {
    out: (text) => process.stdout.write(text),
    outWhole: (text) => {
      try {
        writeWhole(process.stdout.fd, text);
      } catch (error) {
        onUnwritable(error as NodeJS.ErrnoException);
      }
    },
    error: (text) => process.stderr.write(text),
    interactive: process.stdout.isTTY === true,
    environment: process.env,
    input: () => process.stdin.setEncoding("utf8"),
  };
}

// Not awaited: the package's files are scripts, which cannot.
if (process.argv[1] === fileURLToPath(import.meta.url))
  void main(process.argv.slice(2)).then((code) => {
    process.exitCode = code;
  });

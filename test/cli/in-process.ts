import { CommanderError } from "commander";
import { commands } from "../../src/cli/commands.ts";
import type { Terminal } from "../../src/cli/terminal.ts";

/** What a command printed, and the code it would have ended with. */
export interface CommandRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `weir` command on this thread: a process of its own takes half a second, and there are many cases. */
export async function inProcess(
  args: readonly string[],
  environment: Terminal["environment"] = {},
): Promise<CommandRun> {
  const run = { code: 0, stdout: "", stderr: "" };
  const terminal: Terminal = {
    out: (text) => {
      run.stdout += text;
    },
    error: (text) => {
      run.stderr += text;
    },
    interactive: false,
    environment,
    input: () => {
      throw new Error("this command was not to read standard input");
    },
  };
  const program = commands(terminal, (code) => {
    run.code = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // As main.ts has it.
    if (!(error instanceof CommanderError)) throw error;
    run.code = 2;
  }
  return run;
}

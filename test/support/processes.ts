import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));

/** A folder under the system's temporary one, removed by `remove`. */
export function temporaryFolder(): {
  path: string;
  write(name: string, text: string): string;
  remove(): void;
} {
  const path = mkdtempSync(join(tmpdir(), "weir-test-"));
  return {
    path,
    write(name, text) {
      const file = join(path, name);
      writeFileSync(file, text);
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** A TCP port of 127.0.0.1 that was free a moment ago (and its UDP twin, in all likelihood). */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** What a command printed and how it ended. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `weir` to its end, with `input` on standard input. */
export async function weir(args: readonly string[], input = ""): Promise<Finished> {
  return finish(spawn(process.execPath, [weirCommand, ...args], { stdio: "pipe" }), input);
}

/** Runs any command to its end. */
export async function command(
  name: string,
  args: readonly string[],
  input = "",
): Promise<Finished> {
  return finish(spawn(name, args, { stdio: "pipe" }), input);
}

async function finish(child: ChildProcess, input: string): Promise<Finished> {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin!.on("error", () => {});
  child.stdin!.end(input);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout, stderr };
}

/** A process that runs until `stop`: a server under test, or Weir. */
export interface Running {
  readonly child: ChildProcess;
  /** All it wrote so far to both streams. */
  output(): string;
  /** Resolves with the match once the output matches; rejects if the process ends first. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** How it ended, once it has. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends the signal (SIGTERM) and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export function start(
  name: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(name, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let text = "";
  const changed = new Set<() => void>();
  let ended: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  const end = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("error", (error) => {
      text += `${error.message}\n`;
      ended = { code: null, signal: null };
      resolve(ended);
    });
    child.on("close", (code, signal) => {
      ended = { code, signal };
      resolve(ended);
      for (const check of changed) check();
    });
  });
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      for (const check of changed) check();
    });
  return {
    child,
    ended: end,
    output: () => text,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const match = pattern.exec(text);
          if (match === null && ended === undefined) return;
          changed.delete(check);
          if (match !== null) resolve(match);
          else
            reject(
              new Error(`${name} ended (${ended?.code}) before it printed ${pattern}:\n${text}`),
            );
        };
        changed.add(check);
        check();
      }),
    stop: async (signal = "SIGTERM") => {
      if (ended === undefined) child.kill(signal);
      return end;
    },
  };
}

/** The default config's text on ports of our own, for folders other than its. */
export async function defaultConfig(): Promise<{ text: string; port: number; metrics: number }> {
  const [port, metrics] = [await freePort(), await freePort()];
  const file = new URL("../../config/weir.yaml", import.meta.url);
  const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
  const text = readFileSync(file, "utf8")
    .replaceAll(":7070", `:${port}`)
    .replaceAll(":9464", `:${metrics}`)
    .replaceAll("../filters/", filters);
  return { text, port, metrics };
}

/** Weir with this config (YAML text), up and listening; `folder` is where the config lies. */
export async function startWeir(
  folder: { write(name: string, text: string): string },
  config: string,
): Promise<Running> {
  const file = folder.write("weir.yaml", config);
  const running = start(process.execPath, [weirCommand, "run", "-c", file]);
  try {
    await running.printed(/"msg":"ready"/);
    return running;
  } catch (error) {
    await running.stop("SIGKILL");
    throw error;
  }
}

/** The value of one series in Prometheus text; undefined if it is not there. Labels in any order. */
export function series(
  text: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null || match[1] !== name) continue;
    const has = new Map(
      [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1]!, m[2]!]),
    );
    if (Object.entries(labels).every(([key, value]) => has.get(key) === value))
      return Number(match[3]);
  }
  return undefined;
}

export async function scrape(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (!response.ok) throw new Error(`/metrics: ${response.status}`);
  return response.text();
}

/** Asks `probe` again on each turn of a short timer until it gives a value; for servers of others, which tell nobody when they are up. */
export async function eventually<T>(
  probe: () => Promise<T | undefined>,
  what: string,
  withinMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await probe().catch(() => undefined);
    if (value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "../object/clang.ts";
import { onCleanUp } from "../proxy/rig.ts";
import { type Running, scrape, startWeir, temporaryFolder } from "../support/processes.ts";

const programs = fileURLToPath(new URL("./programs/", import.meta.url));

/** Builds a program of `programs/`; the object's path. */
export function buildProgram(name: string, ...flags: string[]): string {
  return build(`${programs}${name}.c`, "-mcpu=v3", "-Wall", "-Wextra", "-Werror", ...flags);
}

/** The names of a C enum, in order: labels for what a map counts by it. */
export function enumNames(source: string, name: string): string[] {
  const text = readFileSync(`${programs}${source}`, "utf8");
  const body = new RegExp(`^enum ${name} \\{([^}]*)\\}`, "m").exec(text)?.[1];
  if (body === undefined) throw new Error(`${source} has no enum ${name}`);
  return body
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
}

/** A `static_map` decoder from numbers to these names. */
export function namesOf(names: readonly string[]): string {
  return `{ name: uint }, { name: static_map, static_map: { ${names.map((name, i) => `${i}: ${name}`).join(", ")} } }`;
}

export interface RunningWeir {
  readonly process: Running;
  /** The port that a listener of `127.0.0.1:0` or `[::1]:0` got. */
  port(listener: string): number;
  metrics(): Promise<string>;
}

/** Runs Weir with a config whose listeners, and metrics, take any free port (0). */
export async function runWeir(config: string): Promise<RunningWeir> {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const running = await startWeir(
    folder,
    `version: 1\nmetrics: { listen: "127.0.0.1:0" }\n${config}`,
  );
  onCleanUp(() => running.stop());
  const lines = running
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const portIn = (text: unknown): number => Number(/:(\d+)(?:\/|$)/.exec(String(text))?.[1]);
  return {
    process: running,
    port(listener) {
      const line = lines.find((one) => one.msg === "listening" && one.listener === listener);
      if (line === undefined) throw new Error(`no listener ${listener}`);
      return portIn(line.address);
    },
    metrics: () => scrape(portIn(lines.find((one) => one.msg === "ready")?.metrics)),
  };
}

/** Every series of a metric: its labels' values joined by a space, and its value. */
export function allSeries(text: string, name: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [, labels, value] of text.matchAll(
    new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, "gm"),
  )) {
    const values = [...(labels ?? "").matchAll(/\w+="([^"]*)"/g)].map((match) => match[1]!);
    found[values.join(" ")] = Number(value);
  }
  return found;
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  command,
  type Running,
  start,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";
import { readDockerfile } from "../system/rootfs.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** An object that every benchmark of the proxy has on ingress: it counts, and lets everything pass. */
export const countingFilter = `${repository}filters/count-by-protocol.o`;

/** The flags that Node has in the image. */
export const imageFlags = ((): readonly string[] => {
  const { instructions } = readDockerfile().at(-1)!;
  const { text } = instructions.find(({ name }) => name === "ENTRYPOINT")!;
  return (JSON.parse(text) as string[]).filter((word) => word.startsWith("--"));
})();

/** The processes of a benchmark, and a folder for their files. */
export class BenchRun {
  readonly folder = temporaryFolder();
  readonly #running: Running[] = [];

  start(name: string, args: readonly string[]): Running {
    const process = start(name, args);
    this.#running.push(process);
    return process;
  }

  /** Weir, ready, with this config and the image's flags; `name` is the file's. */
  async startWeir(name: string, config: string): Promise<Running> {
    const file = this.folder.write(`${name}.yaml`, config);
    const weir = this.start(process.execPath, [...imageFlags, weirCommand, "run", "-c", file]);
    await weir.printed(/"msg":"ready"/);
    return weir;
  }

  /** `udp-load.c` as a program. */
  async buildLoad(): Promise<string> {
    const load = `${this.folder.path}/udp-load`;
    await must("cc", ["-O2", "-o", load, `${repository}test/bench/udp-load.c`]);
    return load;
  }

  /** `load` as the upstream of UDP benchmarks: it sends back what comes to `port`. */
  async startEcho(load: string, port: number): Promise<void> {
    await this.start(load, ["echo", `${port}`]).printed(/up/);
  }

  /** nginx, its workers up; `config` is what stands beside `events`. */
  async startNginx(name: string, config: string): Promise<Running> {
    const module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    const { path } = this.folder;
    const file = this.folder.write(
      `nginx-${name}.conf`,
      `${existsSync(module) ? `load_module ${module};` : ""}
daemon off; pid ${path}/${name}.pid; error_log stderr notice; events { worker_connections 4096; }
${config}`,
    );
    const nginx = this.start("/usr/sbin/nginx", ["-c", file, "-p", path]);
    await nginx.printed(/start worker process /);
    return nginx;
  }

  async close(): Promise<void> {
    for (const process of this.#running.reverse()) await process.stop("SIGTERM");
    this.folder.remove();
  }
}

/** What a command that must not fail prints. */
export async function must(name: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await command(name, args);
  if (code !== 0) throw new Error(`${name} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/**
 * CPU time of a process and its children, all threads that live. /proc/PID/schedstat tells it in
 * nanoseconds (the kernel's Documentation/scheduler/sched-stats), where stat has ticks of 10 ms.
 */
export function cpuNanoseconds({ child }: Running): number {
  return ofProcess(child.pid!);
}

function ofProcess(pid: number): number {
  let sum = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const at = `/proc/${pid}/task/${task}`;
    sum += Number(readFileSync(`${at}/schedstat`, "utf8").split(" ")[0]);
    for (const child of readFileSync(`${at}/children`, "utf8").split(" "))
      if (child !== "") sum += ofProcess(Number(child));
  }
  return sum;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** A figure with as many digits as it deserves. */
export function shown(value: number): string {
  return `${Number(value.toPrecision(3))}`;
}

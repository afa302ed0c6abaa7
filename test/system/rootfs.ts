import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The image's root file system without a container engine: the Dockerfile's own instructions, read
 * from it, carried out in folders. In place of the base image stand this project's Node, which is of
 * the same version, the libraries it links to, and setpriv, which Debian's slim image has too.
 */

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** One instruction of a Dockerfile: `COPY --from=build a b`. */
export interface Instruction {
  readonly name: string;
  readonly text: string;
}

export interface Stage {
  readonly base: string;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** What a container is started with. */
export interface Image {
  /** Folder that is its `/`. */
  readonly root: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthCheck: readonly string[];
}

/** The stages of the repository's Dockerfile, comments and continued lines undone. */
export function readDockerfile(): Stage[] {
  const text = readFileSync(join(repository, "Dockerfile"), "utf8")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, "");
  const stages: { base: string; name: string | undefined; instructions: Instruction[] }[] = [];
  for (const line of text.split("\n").filter((one) => one.trim() !== "")) {
    const [, name, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (name === undefined || rest === undefined) throw new Error(`Dockerfile: ${line}`);
    if (name === "FROM") {
      const [base, , alias] = rest.split(" ");
      stages.push({ base: base!, name: alias, instructions: [] });
    } else stages.at(-1)!.instructions.push({ name, text: rest });
  }
  return stages;
}

/** Builds all stages under `folder`; the last one's folder is the image. */
export function buildImage(folder: string): Image {
  const roots = new Map<string, string>();
  let image: Image | undefined;
  for (const [index, stage] of readDockerfile().entries()) {
    const root = join(folder, stage.name ?? `stage-${index}`);
    roots.set(stage.name ?? String(index), root);
    installBase(root);
    image = carryOut(stage, root, roots);
  }
  return image!;
}

/** Size of a folder on disk, in bytes. */
export function diskBytes(path: string): number {
  return Number(run("du", ["-sk", path]).split("\t")[0]) * 1024;
}

function carryOut(stage: Stage, root: string, roots: ReadonlyMap<string, string>): Image {
  const environment: Record<string, string> = {};
  let workingFolder = "/";
  let user = "0:0";
  const lists = { ENTRYPOINT: [] as string[], CMD: [] as string[], HEALTHCHECK: [] as string[] };
  for (const { name, text } of stage.instructions) {
    switch (name) {
      case "WORKDIR":
        workingFolder = text;
        mkdirSync(join(root, text), { recursive: true });
        break;
      case "ENV": {
        const [key, value] = text.split("=");
        environment[key!] = value!;
        break;
      }
      case "COPY":
        copy(text, root, workingFolder, roots);
        break;
      case "RUN":
        runIn(text, root, workingFolder);
        break;
      case "USER":
        user = text;
        break;
      case "ENTRYPOINT":
      case "CMD":
        lists[name] = JSON.parse(text) as string[];
        break;
      case "HEALTHCHECK":
        lists.HEALTHCHECK = JSON.parse(text.slice(text.indexOf("["))) as string[];
        break;
      case "EXPOSE":
        break;
      default:
        throw new Error(`Dockerfile: this test does not know ${name}`);
    }
  }
  return {
    root,
    environment,
    workingFolder,
    user,
    entrypoint: lists.ENTRYPOINT,
    command: lists.CMD,
    healthCheck: lists.HEALTHCHECK,
  };
}

function copy(
  text: string,
  root: string,
  workingFolder: string,
  roots: ReadonlyMap<string, string>,
): void {
  const words = text.split(" ");
  const from = words[0]!.startsWith("--from=") ? words.shift()!.slice("--from=".length) : undefined;
  const target = words.pop()!;
  for (const source of words) {
    const path = from === undefined ? join(repository, source) : join(roots.get(from)!, source);
    const into = target.endsWith("/") ? join(target, basename(source)) : target;
    const place = join(root, workingFolder, into);
    mkdirSync(dirname(place), { recursive: true });
    // What .dockerignore and git leave out of the context: the built runtime is the build stage's.
    cpSync(path, place, {
      recursive: true,
      filter: (one) => from !== undefined || !one.endsWith("runtime.wasm"),
    });
  }
}

/** A RUN line, with the stage's own Node first on PATH. npm is the machine's. */
function runIn(text: string, root: string, workingFolder: string): void {
  run("sh", ["-c", text], {
    cwd: join(root, workingFolder),
    env: { ...process.env, PATH: `${join(root, "usr/local/bin")}:${process.env.PATH}` },
  });
}

/** What of the base image is needed: Node, setpriv, their libraries, and mount points. */
function installBase(root: string): void {
  for (const folder of ["tmp", "proc", "dev", "etc"])
    mkdirSync(join(root, folder), { recursive: true });
  chmodSync(join(root, "tmp"), 0o1777);
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/usr/sbin/nologin\n");
  install(process.execPath, join(root, "usr/local/bin/node"));
  install("/usr/bin/setpriv", join(root, "usr/bin/setpriv"));
  for (const binary of [process.execPath, "/usr/bin/setpriv"])
    for (const [library] of run("ldd", [binary]).matchAll(/\/\S+/g))
      install(library, join(root, library));
}

function install(file: string, place: string): void {
  mkdirSync(dirname(place), { recursive: true });
  copyFileSync(file, place);
}

function run(
  name: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): string {
  const { status, stdout, stderr } = spawnSync(name, args, { encoding: "utf8", ...options });
  if (status !== 0) throw new Error(`${name} ${args.join(" ")}: ${stderr}\n${stdout}`);
  return stdout;
}

import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterAll, beforeAll, expect, test as plainTest } from "vitest";
import { needing } from "../support/needing.ts";
import {
  command,
  eventually,
  type Running,
  series,
  start,
  temporaryFolder,
} from "../support/processes.ts";
import { buildImage, diskBytes, type Image, readDockerfile } from "./rootfs.ts";

const test = needing("root", "unshare", "setpriv", "ip", "nc", "curl");
/** One container has the network of a pod of its own. */
const namespace = `weir-image-${process.pid}`;
const folder = temporaryFolder();
let image: Image;
/** False where the tests are skipped. */
const possible = test === plainTest;

plainTest("every stage starts from Node of the version that the tests run with", () => {
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
    devDependencies: { node: string };
  };
  for (const { base } of readDockerfile())
    expect(base).toBe(`node:${devDependencies.node}-bookworm-slim`);
});

plainTest("the image runs as 65532, by Node itself, and is asked for its health", () => {
  const last = readDockerfile().at(-1)!.instructions;
  const text = (name: string): string | undefined => last.find((one) => one.name === name)?.text;
  expect(text("USER")).toBe("65532:65532");
  expect(text("ENTRYPOINT")).toMatch(/^\["node", .*"bin\/weir.js"\]$/);
  expect(text("HEALTHCHECK")).toContain('["node", "bin/weir.js", "health"]');
  // V8's code is made with the flags that it is taken with.
  const flagsOf = (words: string | undefined): string[] => words?.match(/--[\w=-]+/g) ?? [];
  const building = readDockerfile()
    .flatMap(({ instructions }) => instructions)
    .find((one) => one.name === "RUN" && one.text.includes("build-code-cache.ts"));
  expect(flagsOf(building?.text)).toEqual(flagsOf(text("ENTRYPOINT")));
});

beforeAll(async () => {
  if (!possible) return;
  image = buildImage(folder.path);
  await succeed("ip", ["netns", "add", namespace]);
  await inPod("ip", ["link", "set", "lo", "up"]);
}, 180_000);

afterAll(async () => {
  if (possible) await command("ip", ["netns", "del", namespace]);
  folder.remove();
});

test("process 1 is Weir: user 65532, no capabilities, nothing to gain, nothing to write", async () => {
  await withContainer(async (container) => {
    const status = readFileSync(`/proc/${container.pid}/status`, "utf8");
    const line = (name: string): string | undefined =>
      new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.replaceAll("\t", " ");
    expect(line("NSpid")).toMatch(/ 1$/);
    expect(line("Uid")).toBe("65532 65532 65532 65532");
    expect(line("Gid")).toBe("65532 65532 65532 65532");
    expect(line("Groups")?.trim()).toBe("");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
      expect(line(set), set).toBe("0000000000000000");
    expect(line("NoNewPrivs")).toBe("1");
    const writing = (file: string): Promise<{ code: number | null; stderr: string }> =>
      container.execute(["node", "-e", `require("fs").writeFileSync("${file}", "")`]);
    expect(await writing("/tmp/mine")).toMatchObject({ code: 0 });
    const refused = await writing("/app/mine");
    expect(refused.stderr).toMatch(/EROFS|EACCES/);
    expect(await container.execute(["sh", "-c", "true"])).toMatchObject({ code: 127 });
  });
}, 60_000);

test("it forwards UDP and TCP, drops who is blocked, tells Prometheus, and stays small", async () => {
  await withContainer(async (container) => {
    const echoed = await inPod("nc", ["-u", "-w1", "127.0.0.1", "7070"], "over UDP");
    expect(echoed.stdout).toBe("over UDP");
    const streamed = await inPod("nc", ["-N", "127.0.0.1", "7070"], "over TCP");
    expect(streamed.stdout).toBe("over TCP");
    await inPod("ip", ["addr", "add", "203.0.113.9/32", "dev", "lo"]);
    const blocked = ["-u", "-w1", "-s", "203.0.113.9", "127.0.0.1", "7070"];
    expect((await inPod("nc", blocked, "let me in")).stdout).toBe("");
    const { stdout } = await inPod("curl", ["-s", "http://127.0.0.1:9464/metrics"]);
    const dropped = { listener: "echo-udp", direction: "ingress", reason: "filter_drop" };
    expect(series(stdout, "weir_drops_total", dropped)).toBe(1);
    expect(series(stdout, "blocked_packets_total", { rule: "2" })).toBe(1);
    expect(series(stdout, "packets_by_protocol_total", { protocol: "tcp" })).toBeGreaterThan(0);
    // 106 to 109 MB were measured (npm run bench:idle), and 140 without what the Dockerfile does for it.
    const status = readFileSync(`/proc/${container.pid}/status`, "utf8");
    expect(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])).toBeLessThan(150_000);
  });
}, 60_000);

test("its health check holds while it runs, and fails where nothing does", async () => {
  await withContainer(async (container) => {
    expect(await container.execute(image.healthCheck)).toMatchObject({ code: 0 });
  });
  await withContainer(
    async (container) => {
      expect(await container.execute(image.healthCheck)).toMatchObject({ code: 1 });
    },
    ["node", "-e", "console.log('ready'); setInterval(() => {}, 1000)"],
  );
}, 60_000);

test("it starts with code that V8 made as the image was built", async () => {
  await withContainer(async (container) => {
    const taken = `const { load, scripts } = require("/app/bin/bundle.cjs"); load("main.cjs");
      console.log([...scripts.values()].every((one) => one.cachedDataRejected === false), scripts.size > 1);`;
    const [node, ...words] = image.entrypoint;
    const flags = words.filter((word) => word.startsWith("--"));
    expect(await container.execute([node!, ...flags, "-e", taken])).toMatchObject({
      code: 0,
      stderr: "",
      stdout: "true true\n",
    });
    // Nothing of it can be written by whoever is in the container.
    const code = `${image.root}/app/dist/js/code`;
    for (const thread of ["main", "worker"])
      expect(readdirSync(`${code}/${thread}`).length).toBeGreaterThan(1);
    expect(statSync(code)).toMatchObject({ uid: 0, mode: 0o40755 });
  });
}, 60_000);

test("SIGTERM to process 1 ends it with exit code 0", async () => {
  await withContainer(async (container) => {
    process.kill(container.pid, "SIGTERM");
    expect(await container.weir.ended).toEqual({ code: 0, signal: null });
    expect(container.weir.output()).toContain('"msg":"stopping"');
  });
}, 60_000);

test("SIGHUP to process 1 has it read a config that was written anew", async () => {
  const place = mounted("by-signal");
  writeFileSync(`${place.outside}/weir.yaml`, answering("tcp", false));
  await withContainer(
    async (container) => {
      expect(await askedOverUdp()).toBe("");
      writeFileSync(`${place.outside}/weir.yaml`, answering("udp", false));
      process.kill(container.pid, "SIGHUP");
      await container.weir.printed(/"msg":"config reloaded"/);
      expect(await askedOverUdp()).toBe("over UDP");
    },
    [...image.entrypoint, "run", "-c", `${place.inside}/weir.yaml`],
  );
}, 60_000);

test("a ConfigMap whose ..data is swapped takes effect by itself with reload: watch", async () => {
  const place = mounted("config-map");
  const publish = (version: string, text: string): void => {
    mkdirSync(`${place.outside}/${version}`);
    writeFileSync(`${place.outside}/${version}/weir.yaml`, text);
    symlinkSync(version, `${place.outside}/..data_tmp`);
    renameSync(`${place.outside}/..data_tmp`, `${place.outside}/..data`);
  };
  publish("..2026_11_01", answering("tcp", true));
  symlinkSync("..data/weir.yaml", `${place.outside}/weir.yaml`);
  await withContainer(
    async (container) => {
      expect(await askedOverUdp()).toBe("");
      publish("..2026_11_02", answering("udp", true));
      rmSync(`${place.outside}/..2026_11_01`, { recursive: true });
      await container.weir.printed(/"msg":"config reloaded"/);
      expect(await askedOverUdp()).toBe("over UDP");
    },
    [...image.entrypoint, "run", "-c", `${place.inside}/weir.yaml`],
  );
}, 60_000);

test("the image is Node, Weir and what it needs: the README tells how large", () => {
  const megabytes = (path: string): number => diskBytes(`${image.root}${path}`) / 1e6;
  const readme = readFileSync("README.md", "utf8");
  const told = (what: RegExp): number => Number(what.exec(readme)?.[1]);
  expect(told(/Node \((\d+) MB\)/)).toBeCloseTo(megabytes("/usr/local/bin/node"), -1);
  expect(told(/Weir with its dependencies \((\d+) MB\)/)).toBeCloseTo(megabytes("/app"), -1);
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
    dependencies: Record<string, string>;
  };
  const installed = readdirSync(`${image.root}/app/node_modules`);
  for (const name of Object.keys(dependencies)) expect(installed).toContain(name.split("/")[0]);
  for (const name of ["typescript", "vitest", "assemblyscript", "node"])
    expect(installed).not.toContain(name);
});

/** A folder of the image that the container can only read, and we can write. */
function mounted(name: string): { readonly inside: string; readonly outside: string } {
  const inside = `/etc/${name}`;
  const outside = `${image.root}${inside}`;
  mkdirSync(outside);
  return { inside, outside };
}

/** A config whose echo gets packets of this protocol only. */
function answering(protocol: "udp" | "tcp", watch: boolean): string {
  return `version: 1
reload: { watch: ${watch} }
metrics: { listen: off }
upstreams: { app: { echo: true } }
filters: { only: { expression: ${protocol} } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:7070", upstream: app, ingress: [only] }
`;
}

/** What the echo says to a datagram; nothing where the filter drops it. */
async function askedOverUdp(): Promise<string> {
  return (await inPod("nc", ["-u", "-w1", "127.0.0.1", "7070"], "over UDP")).stdout;
}

/** A container of the image while `use` lasts: process 1 of its own namespaces, no privileges. */
interface Container {
  readonly weir: Running;
  /** Process 1, as the test's own namespace numbers it. */
  readonly pid: number;
  /** Another process in the container, as `docker exec` starts it. */
  execute(words: readonly string[]): ReturnType<typeof command>;
}

async function withContainer(
  use: (container: Container) => Promise<void>,
  words: readonly string[] = [...image.entrypoint, ...image.command],
): Promise<void> {
  const mounts = [
    'mount --bind "$0" "$0"',
    'mount -t proc proc "$0/proc"',
    'mount -o remount,bind,ro "$0"',
    'mount -t tmpfs -o mode=1777,size=16m tmpfs "$0/tmp"',
    'exec "$@"',
  ].join(" && ");
  // --kill-child: whatever ends this process ends the container.
  const namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];
  const weir = start("ip", [
    ...["netns", "exec", namespace, ...namespaces, "sh", "-c", mounts, image.root],
    ...entering(["unshare", `--root=${image.root}`, `--wd=${image.workingFolder}`]),
    ...words,
  ]);
  try {
    await weir.printed(/ready/);
    const pid = await processOne();
    const execute = (more: readonly string[]): ReturnType<typeof command> =>
      command("env", [
        ...entering(["nsenter", "--target", String(pid), "--all", "--root", "--wd"]).slice(1),
        ...more,
      ]);
    await use({ weir, pid, execute });
  } finally {
    await weir.stop("SIGKILL");
  }
}

/** Goes in by `way`, with the image's environment, as its user, and with nothing to gain. */
function entering(way: readonly string[]): string[] {
  const [user, group] = image.user.split(":");
  const variables = Object.entries(image.environment).map(([key, value]) => `${key}=${value}`);
  return [
    ...["env", "-i", "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", ...variables, ...way],
    ...["setpriv", `--reuid=${user}`, `--regid=${group}`, "--clear-groups", "--no-new-privs"],
    // A new user clears what --kill-child asked for.
    ...["--bounding-set=-all", "--inh-caps=-all", "--pdeathsig=KILL"],
  ];
}

/** The one process of the pod's network that is number 1 of a namespace of its own. */
async function processOne(): Promise<number> {
  return eventually(async () => {
    const { stdout } = await command("ip", ["netns", "pids", namespace]);
    return stdout
      .trim()
      .split("\n")
      .map(Number)
      .find((pid) => /^NSpid:\s+\d+\s+1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
  }, "process 1 of the container");
}

function inPod(name: string, args: readonly string[], input = ""): ReturnType<typeof command> {
  return command("ip", ["netns", "exec", namespace, name, ...args], input);
}

async function succeed(name: string, args: readonly string[]): Promise<void> {
  expect(await command(name, args)).toMatchObject({ code: 0 });
}

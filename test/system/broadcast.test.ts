import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { loadObject } from "../../src/index.ts";
import { inProcess } from "../cli/in-process.ts";
import { captureFile } from "../cli/replay-rig.ts";
import { cleanUp, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { word } from "../support/flood.ts";
import { needing } from "../support/needing.ts";
import { eventually, temporaryFolder } from "../support/processes.ts";
import { allSeries, buildProgram, runWeir } from "./truth-rig.ts";

/** BPF_F_BROADCAST of bpf_redirect_map, by the program of programs/broadcast.c. */
const test = needing("clang");
const besideKernel = needing("clang", "root", "kernel bpf()", "ip", "unshare");
afterEach(cleanUp);

const modes = {
  listed: 0,
  listedButIngress: 1,
  hashed: 2,
  hashedButIngress: 3,
  oneAtLast: 4,
  allAtLast: 5,
  refusedAtLast: 6,
  missedAtLast: 7,
} as const;

/** A frame that the program sends where `mode` says. */
function frameOf(mode: number): Uint8Array {
  const frame = new Uint8Array(60).fill(0xff, 0, 6);
  frame.set([0x88, 0xb5, mode], 12);
  return frame;
}

/** What stands in the maps: the port under each key from 0 on; 0: none. */
interface Ports {
  readonly name: string;
  readonly listed: readonly number[];
  readonly hashed: readonly number[];
}

const sets: readonly Ports[] = [
  { name: "all ports", listed: [1, 2, 3, 4], hashed: [1, 2, 3, 4] },
  { name: "some of them, with gaps", listed: [0, 4, 0, 0, 2], hashed: [0, 0, 3, 0, 0, 1] },
  { name: "a port under two keys", listed: [3, 1, 3], hashed: [2, 2, 2] },
  { name: "one port", listed: [2], hashed: [2] },
  { name: "nothing", listed: [], hashed: [] },
];

/** How often each of the kernel's ports 1 to 4 got a frame of each mode that came in by each port. */
function kernelSends(file: string, { listed, hashed }: Ports): readonly unknown[] {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const tool = `${folder.path}/switch`;
  const source = fileURLToPath(new URL("switch.c", import.meta.url));
  const flags = ["-O1", "-Wall", "-Wextra", "-Werror", source, "-o", tool, "-lbpf"];
  const built = spawnSync("clang", flags, { encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);
  const put = (map: string, ports: readonly number[]): string[] =>
    ports.flatMap((port, key) => (port === 0 ? [] : [`port ${map} ${key} ${port}`]));
  const lines = [
    ...put("each", [0, 1, 2, 3, 4]),
    ...put("listed", listed),
    ...put("hashed", hashed),
    ...froms.flatMap((from) => Object.values(modes).map((mode) => `send ${from} ${mode}`)),
  ];
  const devices = `for i in 1 2 3 4; do
      ip link add p$i type veth peer name q$i
      for end in p$i q$i; do echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6; ip link set $end up; done
    done
    exec "$0" "$@"`;
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--net", "sh", "-ec", devices, tool, file],
    { input: `${lines.join("\n")}\n`, encoding: "utf8", timeout: 60_000 },
  );
  if (status !== 0) throw new Error(`switch ended with ${status}: ${stderr}`);
  const answers = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { error: number } | number[]);
  return answers.filter((answer) => {
    if (Array.isArray(answer)) return true;
    if (answer.error !== 0) throw new Error(`a port was refused: ${answer.error}`);
    return false;
  });
}

const froms = [1, 3] as const;

for (const ports of sets)
  besideKernel(`frames go where the kernel's go: ${ports.name}`, async () => {
    const file = buildProgram("broadcast");
    const kernels = kernelSends(file, ports);
    expect(kernels).toHaveLength(froms.length * Object.keys(modes).length);
    for (const engine of ["jit", "interpreter"] as const) {
      using object = await loadObject(file, { engine });
      const put = (map: string, key: number, port: number) =>
        object.map(map).set(word(key), word(port));
      for (const port of [1, 2, 3, 4]) put("each", port, port);
      for (const map of ["listed", "hashed"] as const)
        for (const [key, port] of ports[map].entries()) if (port !== 0) put(map, key, port);
      const own = froms.flatMap((from) =>
        Object.values(modes).map((mode) => {
          const ran = object.program("forward").run(frameOf(mode), { ctx: { ifindex: from } });
          const to = ran.verdict === "redirect" ? (ran.ports ?? [ran.redirect]) : [];
          return [1, 2, 3, 4].map((port) => to.filter((one) => one === port).length);
        }),
      );
      expect(own, engine).toEqual(kernels);
    }
  });

/** Two upstreams as ports, and a listener that sends every datagram to all that `listed` names. */
function config(upstreams: readonly string[], listed: string, protocol = "udp"): string {
  const named = upstreams.map((address, i) => `  up${i}: { addresses: ["${address}"] }`);
  return `
upstreams:
${named.join("\n")}
ports: { ${upstreams.map((_, i) => `${i + 1}: up${i}`).join(", ")} }
filters:
  all:
    object: ${buildProgram("broadcast")}
    program: to_all
    maps: { listed: { entries: [ ${listed} ] } }
listeners:
  - { name: fan, protocol: ${protocol}, listen: "127.0.0.1:0", upstream: up0, ingress: [all] }
`;
}

const both = "{ key: 0, value: up0 }, { key: 5, value: up1 }";

test("a proxy sends datagrams to the ports that a devmap's entries name, and counts each", async () => {
  const upstreams = [await udpUpstream("one:"), await udpUpstream("two:")];
  const addresses = upstreams.map(({ port }) => `127.0.0.1:${port}`);
  const weir = await runWeir(config(addresses, both));
  const client = await udpSocket();
  client.send("hello", { host: "127.0.0.1", port: weir.port("fan") });
  const answers = [await client.text(), await client.text()];
  expect(answers.toSorted()).toEqual(["one:hello", "two:hello"]);
  const packets = async () => allSeries(await weir.metrics(), "weir_packets_total");
  await eventually(
    async () => (await packets())["fan ingress redirect"] === 2 || undefined,
    "both are counted",
  );
  expect(allSeries(await weir.metrics(), "weir_filter_verdicts_total")["all redirect"]).toBe(1);
});

const frame = frameOf(0);
const data = Buffer.from(frame).toString("hex");

test("weir prog run and prog trace tell of the ports", async () => {
  const program = [buildProgram("broadcast"), "--program", "to_all"];
  const run = (...args: string[]) => inProcess(["prog", "run", ...program, ...args]);
  const maps = ["02", "01", "07"].flatMap((port, key) => [
    "--map",
    `listed=0${key}000000:${port}000000`,
  ]);
  const text = await run("--data", data, ...maps);
  // It came in by device 1.
  expect(text.stdout).toContain("packet 0: redirect to ifindex 2, 7 (4), 60 bytes, unchanged\n");
  const json = await run("--data", data, ...maps, "--json");
  expect(JSON.parse(json.stdout.split("\n")[0]!)).toMatchObject({
    ret: 4,
    verdict: "redirect",
    ports: [2, 7],
  });
  const trace = await inProcess(["prog", "trace", ...program, "--data", data, ...maps]);
  expect(trace.stdout).toContain("returned 4: redirect to 2, 7\n");
  const none = await run("--data", data);
  expect(none.stdout).toContain("packet 0: redirect to no port (4)");
});

for (const { name, listed, row, protocol } of [
  {
    name: "both upstreams",
    listed: both,
    row: { verdict: "redirect", filter: "all", port: "up0, up1", packets: 1 },
  },
  {
    name: "a port that there is not",
    listed: "{ key: 1, value: 99 }",
    row: { verdict: "drop", filter: "all", reason: "redirect_unknown_port", packets: 1 },
  },
  {
    name: "no port",
    listed: "",
    row: { verdict: "drop", filter: "all", reason: "redirect_no_port", packets: 1 },
  },
  {
    name: "both upstreams on a TCP listener",
    protocol: "tcp",
    listed: both,
    row: { verdict: "drop", filter: "all", reason: "not_routable", packets: 1 },
  },
])
  test(`weir replay shows a broadcast to ${name}`, async () => {
    const folder = temporaryFolder();
    onCleanUp(() => folder.remove());
    const text = config(["127.0.0.1:9", "127.0.0.1:10"], listed, protocol);
    const file = folder.write("weir.yaml", `version: 1\n${text}`);
    const capture = captureFile("one.pcapng", [{ data: Buffer.from(frame) }]);
    const passed = `${folder.path}/passed.pcapng`;
    const replay = ["replay", capture, "-c", file, "--listener", "fan", "--json", "-w", passed];
    const { stdout, stderr } = await inProcess(replay);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout).verdicts).toMatchObject([row]);
    const comment = readFileSync(passed).includes("verdict=redirect filter=all ports=1,2");
    expect(comment).toBe(row.verdict === "redirect");
  });

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { KnownNetwork } from "../../src/engine/network.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { deriveMac, parseAddress } from "../../src/packet/address.ts";
import { EngineBench, unwrap } from "../engine/engine-bench.ts";
import { cleanUp, onCleanUp } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { kernelAnswers } from "./kernel.ts";
import { buildProgram } from "./truth-rig.ts";

/**
 * bpf_fib_lookup beside the kernel's: a namespace whose devices, routes and neighbours say what the
 * `routes:` of a config say.
 */
const test = needing("clang", "root", "kernel bpf()", "ip", "unshare");
afterAll(cleanUp);

const listener = 4;
const ports = [2, 3] as const;
const mtu = 1500;

interface Told {
  readonly to: string;
  readonly action?: "blackhole" | "unreachable" | "prohibit";
  readonly port?: (typeof ports)[number];
  readonly gateway?: string;
  readonly source?: string;
  readonly metric?: number;
  readonly mtu?: number;
}

const source4 = { 2: "192.0.2.9", 3: "198.51.100.9" };
const source6 = { 2: "2001:db8:2::9", 3: "2001:db8:3::9" };

const routes: readonly Told[] = [
  { to: "192.0.2.0/24", port: 2 },
  { to: "198.51.100.0/24", port: 3, metric: 3 },
  { to: "10.0.0.0/8", port: 2, gateway: "192.0.2.1", metric: 5 },
  { to: "10.0.0.0/8", port: 3, gateway: "198.51.100.1", metric: 9 },
  { to: "10.1.0.0/16", port: 3, gateway: "198.51.100.1" },
  { to: "10.1.2.0/23", port: 2, gateway: "192.0.2.7", metric: 1 },
  { to: "10.1.3.4/32", port: 3, gateway: "198.51.100.7" },
  { to: "10.2.0.0/16", action: "blackhole" },
  { to: "10.3.0.0/16", action: "unreachable" },
  { to: "10.4.0.0/16", action: "prohibit" },
  { to: "10.5.0.0/16", port: 2, gateway: "2001:db8:2::1" },
  { to: "10.6.0.0/16", port: 2, gateway: "192.0.2.1", mtu: 1400 },
  { to: "2001:db8:2::/64", port: 2, metric: 256 },
  { to: "2001:db8:3::/64", port: 3, metric: 256 },
  { to: "2001:db8:a000::/36", port: 2, gateway: "2001:db8:2::1", metric: 5 },
  { to: "2001:db8:a000::/36", port: 3, gateway: "2001:db8:3::1", metric: 9 },
  { to: "2001:db8:a100::/40", port: 3, gateway: "2001:db8:3::7", metric: 1 },
  { to: "2001:db8:a200::/40", action: "blackhole", metric: 1 },
  { to: "2001:db8:a300::/40", action: "unreachable", metric: 1 },
  { to: "2001:db8:a400::/40", action: "prohibit", metric: 1 },
  { to: "2001:db8:a600::/40", port: 2, gateway: "2001:db8:2::1", mtu: 1400, metric: 1 },
  { to: "2001:db8:a604::5/128", port: 3, metric: 1 },
];

const destinations = [
  "192.0.2.1",
  "192.0.2.77",
  "198.51.100.7",
  "10.0.0.1",
  "10.255.255.255",
  "10.1.1.255",
  "10.1.2.0",
  "10.1.3.3",
  "10.1.3.4",
  "10.1.3.5",
  "10.1.4.0",
  "10.2.9.9",
  "10.3.0.0",
  "10.4.1.1",
  "10.5.1.1",
  "10.6.1.1",
  "11.0.0.1",
  "127.0.0.1",
  "224.0.0.1",
  "0.0.0.0",
  "2001:db8:2::1",
  "2001:db8:3::77",
  "2001:db8:a000::1",
  "2001:db8:afff::1",
  "2001:db8:a100::1",
  "2001:db8:a1ff::1",
  "2001:db8:a2ff::1",
  "2001:db8:a300::1",
  "2001:db8:a400::1",
  "2001:db8:a604::4",
  "2001:db8:a604::5",
  "2001:db8:b000::1",
  "fe80::1",
  "ff02::1",
  "::1",
  "::",
];

const isIpv6 = (address: string): boolean => address.includes(":");
const sourceOf = ({ to, port }: Told): string => (isIpv6(to) ? source6 : source4)[port!];

const formatMac = (mac: Uint8Array): string => toHex(mac).replace(/..(?=.)/g, "$&:");
/** The hardware address that Weir derives of a next hop's address, and of a port's number. */
const macOf = (address: string): string => formatMac(deriveMac(parseAddress(address)!));
const portMacOf = (port: number): string => formatMac(deriveMac(Uint8Array.of(0, 0, 0, port)));

/** What makes of a fresh namespace the network of the routes. */
function shellOf(): string {
  const lines = ["sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"];
  lines.push("ip link set lo up");
  for (const device of [...ports, listener]) {
    const name = `p${device}`;
    const peer = `name q${device} index ${device + 100}`;
    lines.push(
      `ip link add ${name} index ${device} address ${portMacOf(device)} mtu ${mtu} type veth peer ${peer}`,
      `ip link set q${device} up`,
      `ip link set ${name} up`,
    );
  }
  for (const port of ports)
    lines.push(
      `ip addr add ${source4[port]}/32 dev p${port}`,
      `ip addr add ${source6[port]}/128 dev p${port} nodad`,
    );
  for (const route of routes) {
    const { to, action = "", port, gateway, metric = 0, mtu: longest } = route;
    const family = isIpv6(to) ? "-6" : "-4";
    const via =
      gateway === undefined
        ? ""
        : `via ${isIpv6(gateway) && !isIpv6(to) ? "inet6 " : ""}${gateway}`;
    const by = port === undefined ? "" : `dev p${port} src ${sourceOf(route)}`;
    const onLink = gateway === undefined ? "" : "onlink";
    const locked = longest === undefined ? "" : `mtu lock ${longest}`;
    lines.push(
      `ip ${family} route add ${action} ${to} ${via} ${by} ${onLink} metric ${metric} ${locked}`,
    );
  }
  const neighbours = [...destinations, ...routes.flatMap(({ gateway }) => gateway ?? [])];
  for (const port of ports)
    for (const address of new Set(neighbours.filter((one) => !/^(127|224|0|ff|::)/.test(one))))
      lines.push(`ip neigh replace ${address} lladdr ${macOf(address)} dev p${port}`);
  return lines.join("\n");
}

function configOf(object: string): string {
  const told = routes.map((route) => {
    const { action, port } = route;
    const forwarded = port === undefined ? {} : { source: sourceOf(route), mtu: route.mtu ?? mtu };
    return `  - ${JSON.stringify(action === undefined ? { ...route, ...forwarded } : route)}`;
  });
  return [
    "version: 1",
    'upstreams: { app: { addresses: ["127.0.0.1:9"] } }',
    "ports: { 2: app, 3: app }",
    `filters: { route: { object: ${object}, program: xdp_route } }`,
    `listeners: [{ name: in, protocol: udp, listen: "127.0.0.1:0", ifindex: ${listener}, upstream: app }]`,
    "routes:",
    ...told,
  ].join("\n");
}

/** Addresses of the routes that have an MTU of their own. */
const ownMtu = /^10\.6\.|^2001:db8:a604::4$/;

interface Asked {
  readonly destination: string;
  readonly flags?: number;
  readonly length?: number;
  readonly ifindex?: number;
  readonly source?: string;
  readonly frameBytes?: number;
}

const [DIRECT, OUTPUT, SKIP_NEIGH, SOURCE] = [1, 2, 4, 16] as const;

/** A frame with struct bpf_fib_lookup and the flags behind its Ethernet header. */
function frameOf(asked: Asked): Uint8Array {
  const { destination, flags = 0, length = 0, ifindex = listener, frameBytes = 82 } = asked;
  const bytes = new Uint8Array(frameBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, 0x88b5);
  bytes[14] = isIpv6(destination) ? 10 : 2;
  view.setUint16(14 + 6, length, true);
  view.setUint32(14 + 8, ifindex, true);
  if (asked.source !== undefined) bytes.set(parseAddress(asked.source)!, 14 + 16);
  bytes.set(parseAddress(destination)!, 14 + 32);
  bytes.fill(0xee, 14 + 48, 14 + 64);
  view.setUint32(14 + 64, flags, true);
  return bytes;
}

const asked: readonly Asked[] = [
  ...destinations.flatMap((destination) =>
    [0, DIRECT, SKIP_NEIGH, SOURCE, DIRECT | SKIP_NEIGH | SOURCE].map((flags) => ({
      destination,
      flags,
    })),
  ),
  // The device that the packet is to leave by.
  ...destinations.flatMap((destination) =>
    ports.flatMap((ifindex) =>
      [OUTPUT, OUTPUT | DIRECT].map((flags) => ({ destination, flags, ifindex })),
    ),
  ),
  ...["10.0.0.1", "10.6.1.1", "10.2.0.1", "2001:db8:a000::1", "2001:db8:a604::4"].flatMap(
    (destination) =>
      [1, 1399, 1400, 1401, 1500, 1501, 65_535].map((length) => ({ destination, length })),
  ),
  // Longer than the device takes; of a tc program that gives no length the packet itself counts.
  ...["10.0.0.1", "2001:db8:a000::1"].flatMap((destination) =>
    [1514, 1515, 1518, 1519, 2000].map((frameBytes) => ({ destination, frameBytes })),
  ),
  { destination: "10.0.0.1", ifindex: 77 },
  { destination: "2001:db8:a000::1", ifindex: 77 },
  { destination: "ff02::1", ifindex: 77 },
  { destination: "10.0.0.1", flags: 64 },
  { destination: "2001:db8:a000::1", source: "fe80::5" },
  { destination: "2001:db8:a000::1", source: "2001:db8:b::5" },
];

test("bpf_fib_lookup finds what the kernel finds, in both families and on both engines", () => {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const file = buildProgram("routes");
  const configFile = join(folder.path, "weir.yaml");
  writeFileSync(configFile, configOf(file));
  const config = loadConfig(configFile);
  if (!config.ok) throw config.error[0];
  const network = new KnownNetwork({ ports, listeners: [listener], routes: config.value.routes });
  const object = unwrap(loadObject(readFileSync(file), file));
  const questions = object.programs.flatMap(({ name }) =>
    asked
      // Without a length the kernel tells tc programs of the device's MTU; here a port has its routes'.
      .filter((one) => !(name === "tc_route" && !one.length && ownMtu.test(one.destination)))
      .map((one) => ({ program: name, one, frame: frameOf(one) })),
  );
  const kernel = kernelAnswers(
    file,
    questions.map(({ program, frame }) => `run ${program} ${toHex(frame)}`),
    undefined,
    shellOf(),
  ).map(({ ret, data, error }) => (error === undefined ? told(ret! | 0, data!) : `error ${error}`));
  for (const [label, engine] of Object.entries({ interpreter, jit })) {
    const bench = new EngineBench(engine);
    const executables = new Map(
      object.programs.map((program) => {
        const linked = unwrap(linkProgram(program, []));
        return [program.name, unwrap(engine(linked, { ...bench.context, network }))];
      }),
    );
    const different = questions.flatMap(({ program, one, frame }, i) => {
      const { r0, data, fault } = bench.run(executables.get(program)!, frame);
      expect(fault).toBeUndefined();
      const here = told(Number(BigInt.asIntN(32, r0)), toHex(data));
      return here === kernel[i]
        ? []
        : [`${program} ${JSON.stringify(one)}\n  kernel ${kernel[i]}\n  here   ${here}`];
    });
    expect(different.join("\n"), `${label}: ${different.length} of ${questions.length}`).toBe("");
  }
  const answers = new Set(kernel.map((one) => one.split(" ")[0]));
  expect([...answers].toSorted(), "what the kernel returned").toEqual(
    ["0", "1", "2", "3", "4", "8", "-19", "-22"].toSorted(),
  );
});

/** What it returned, and what the parameters then say. */
function told(returned: number, frame: string): string {
  const parameters = frame.slice(28, 28 + 128);
  const at = (from: number, bytes: number): string =>
    parameters.slice(from * 2, (from + bytes) * 2);
  return `${returned} family ${at(0, 1)} mtu ${at(6, 2)} ifindex ${at(8, 4)} metric ${at(12, 4)} source ${at(16, 16)} destination ${at(32, 16)} vlan ${at(48, 4)} macs ${at(52, 6)} ${at(58, 6)}`;
}

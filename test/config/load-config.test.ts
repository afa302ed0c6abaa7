import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { workerCount } from "../../src/config/check-addresses.ts";
import { loadConfig, parseConfig } from "../../src/config/load-config.ts";
import { needing } from "../support/needing.ts";

const folder = mkdtempSync(join(tmpdir(), "weir-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function problems(file: string): string[] {
  const config = loadConfig(join(folder, file));
  return config.ok
    ? []
    : config.error.map((problem) => problem.message.replaceAll(`${folder}/`, ""));
}

test("a file that cannot be read is told with the reason", () => {
  mkdirSync(join(folder, "folder.yaml"));
  writeFileSync(join(folder, "large.yaml"), "#".repeat(1_048_577));
  writeFileSync(join(folder, "binary.yaml"), Uint8Array.of(0x76, 0xff));
  expect(problems("absent.yaml")).toEqual([
    "absent.yaml:1:1: there is no such file; check the path",
  ]);
  expect(problems("large.yaml/x.yaml")).toEqual([
    "large.yaml/x.yaml:1:1: there is no such file; check the path",
  ]);
  expect(problems("folder.yaml")).toEqual(["folder.yaml:1:1: is not a file; name a regular file"]);
  expect(problems("large.yaml")).toEqual([
    "large.yaml:1:1: has 1048577 bytes, more than the 1048576 that are read; name a smaller file",
  ]);
  expect(problems("binary.yaml")).toEqual(["binary.yaml:1:1: not text in UTF-8; convert the file"]);
});

needing("linux")("a device is refused, not read", () => {
  const config = loadConfig("/dev/zero");
  expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual([
    "/dev/zero:1:1: is not a file; name a regular file",
  ]);
});

test("objects that are damaged are told, and none throws", () => {
  writeFileSync(join(folder, "empty.o"), "");
  writeFileSync(join(folder, "magic.o"), Uint8Array.of(0x7f, 0x45, 0x4c, 0x46));
  writeFileSync(
    join(folder, "objects.yaml"),
    `version: 1
upstreams: { app: { echo: true } }
filters:
  a: { object: empty.o }
  b: { object: magic.o }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app, ingress: [a, b] }]
`,
  );
  expect(problems("objects.yaml")).toEqual([
    expect.stringMatching(/^objects\.yaml:4:16: filters\.a\.object: empty\.o: /),
    expect.stringMatching(/^objects\.yaml:5:16: filters\.b\.object: magic\.o/),
  ]);
});

test("the shortest config gets every default", () => {
  const text = `version: 1
upstreams: { app: { echo: true } }
listeners:
  - { name: u, protocol: udp, listen: "127.0.0.1:1", upstream: app }
  - { name: t, protocol: tcp, listen: "[::1]:1", upstream: app }
`;
  const config = parseConfig(text, "t.yaml");
  const listener = {
    upstream: "app",
    ingress: [],
    egress: [],
    maxSessions: 16_384,
    localAddress: undefined,
    allowDestinations: [],
    onDrop: "reset",
    onSegmentDrop: "reset",
  };
  expect(config).toEqual({
    ok: true,
    value: {
      file: "t.yaml",
      files: ["t.yaml"],
      text,
      swaps: new Map(),
      accessLog: { sessions: "off", sample: 0.01, drops: false },
      watch: false,
      workers: 1,
      memoryBytes: 536_870_912,
      drain: "refuse",
      admin: { listen: undefined, tokenFile: undefined },
      drainTimeoutMs: 30_000,
      logLevel: "info",
      metricsListen: { host: "127.0.0.1", port: 9464 },
      upstreams: [
        {
          name: "app",
          addresses: "echo",
          balance: "round_robin",
          connectTimeoutMs: 10_000,
          ejection: { failures: 3, timeMs: 10_000 },
          healthCheck: undefined,
          resolveIntervalMs: 30_000,
          where: "t.yaml:2:14",
        },
      ],
      ports: [],
      routes: [],
      filters: [],
      listeners: [
        {
          ...listener,
          name: "u",
          protocol: "udp",
          io: "dgram",
          listen: { host: "127.0.0.1", port: 1 },
          ifindex: 1000,
          idleTimeoutMs: 60_000,
        },
        {
          ...listener,
          name: "t",
          protocol: "tcp",
          listen: { host: "::1", port: 1 },
          ifindex: 1001,
          idleTimeoutMs: 3_600_000,
        },
      ],
    },
  });
});

test("every key arrives, and listeners are numbered around the numbers that are taken", () => {
  const config = parseConfig(
    `version: 1
workers: 3
memory: 64MiB
drainTimeout: 1500ms
log: { level: debug }
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:5353", "dns:53"] }, pot: { addresses: ["[::1]:1"], balance: client_hash, connectTimeout: 2s, ejection: { failures: 0 }, healthCheck: { type: http, path: /up, port: 80, timeout: 1s }, resolveInterval: off } }
ports: { 1000: app, 3: pot }
filters:
  block:
    object: ../filters/blocklist.o
    globals: { default_action: 2 }
    continueOn: [pass, drop]
    maps: { blocked: { entries: [{ key: 10.0.0.0/8, value: 7 }] } }
listeners:
  - { name: a, protocol: udp, listen: "0.0.0.0:1", upstream: app, ingress: [block, "block:xdp_blocklist"], localAddress: 192.0.2.1 }
  - { name: b, protocol: udp, listen: "0.0.0.0:2", upstream: pot, ifindex: 1001, allowDestinations: ["10.0.0.0/8:53"], maxSessions: 5 }
  - { name: c, protocol: tcp, listen: "0.0.0.0:2", upstream: pot, onDrop: ignore, onSegmentDrop: discard, idleTimeout: 2m, egress: [block] }
`,
    "config/t.yaml",
  );
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  const { filters, ...rest } = config.value;
  expect(rest).toMatchObject({
    workers: 3,
    memoryBytes: 67_108_864,
    drain: "refuse",
    drainTimeoutMs: 1500,
    logLevel: "debug",
    metricsListen: undefined,
    upstreams: [
      {
        name: "app",
        addresses: [
          { host: "127.0.0.1", port: 5353 },
          { host: "dns", port: 53 },
        ],
      },
      {
        name: "pot",
        addresses: [{ host: "::1", port: 1 }],
        balance: "client_hash",
        connectTimeoutMs: 2_000,
        ejection: undefined,
        healthCheck: {
          type: "http",
          intervalMs: 5_000,
          timeoutMs: 1_000,
          path: "/up",
          port: 80,
          healthyAfter: 2,
          unhealthyAfter: 3,
        },
        resolveIntervalMs: undefined,
      },
    ],
    ports: [
      { ifindex: 3, target: "pot" },
      { ifindex: 1000, target: "app" },
    ],
    listeners: [
      {
        ifindex: 1002,
        localAddress: "192.0.2.1",
        ingress: [
          { filter: "block", program: "xdp_blocklist" },
          { filter: "block", program: "xdp_blocklist" },
        ],
      },
      {
        ifindex: 1001,
        maxSessions: 5,
        allowDestinations: [{ host: "10.0.0.0", prefixLength: 8, port: 53 }],
      },
      {
        ifindex: 1003,
        idleTimeoutMs: 120_000,
        onDrop: "ignore",
        onSegmentDrop: "discard",
        egress: [{ filter: "block", program: "xdp_blocklist" }],
      },
    ],
  });
  expect(filters).toHaveLength(1);
  expect(filters[0]).toMatchObject({
    name: "block",
    where: "config/t.yaml:10:3",
    continueOn: ["pass", "drop"],
    engine: "jit",
    programs: [{ name: "xdp_blocklist", type: "xdp" }],
  });
  const blocked = filters[0]!.object.maps.findIndex((map) => map.name === "blocked");
  expect([...filters[0]!.contents[blocked]!]).toEqual([
    {
      key: Uint8Array.of(8, 0, 0, 0, 10, 0, 0, 0),
      value: Uint8Array.of(7, 0, 0, 0),
      where: "config/t.yaml:14:34",
    },
  ]);
});

test("workers: auto is one for each CPU where threads can share a port, else one", () => {
  expect(workerCount("auto", "linux")).toBe(availableParallelism());
  expect(workerCount("auto", "darwin")).toBe(1);
  expect(workerCount(7, "linux")).toBe(7);
});

test("thousands of problems are cut to those that a person will mend first", () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `k${i}: 1`).join("\n");
  const config = parseConfig(keys, "t.yaml");
  const found = config.ok ? [] : config.error.map((problem) => problem.message);
  expect(found).toHaveLength(101);
  expect(found.at(-1)).toBe(
    "t.yaml:98:1: 4902 more problems are not shown; mend those above first",
  );
});

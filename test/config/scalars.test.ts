import { describe, expect, test } from "vitest";
import {
  formatSize,
  parseAddressRange,
  parseAdminListen,
  parseDuration,
  parseListenAddress,
  parseListenerAddress,
  parseMemorySize,
  parseUpstreamAddress,
} from "../../src/config/scalars.ts";

describe("durations", () => {
  for (const [text, ms] of [
    ["1ms", 1],
    ["500ms", 500],
    ["60s", 60_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["596h", 2_145_600_000],
    ["2147483647ms", 2_147_483_647],
    ["007s", 7000],
  ] as const)
    test(`${text} is ${ms} ms`, () => {
      expect(parseDuration(text)).toEqual({ ok: true, value: ms });
    });

  for (const text of [
    "",
    "60",
    "s",
    "1.5s",
    "-1s",
    "+1s",
    "1 s",
    " 1s",
    "1s ",
    "1S",
    "1d",
    "1m30s",
    "1e3s",
    "0x1s",
    "0s",
    "0ms",
    "597h",
    "2147483648ms",
    "99999999999999999999h",
    "١s",
  ])
    test(`${JSON.stringify(text)} is no duration`, () => {
      expect(parseDuration(text)).toMatchObject({ ok: false });
    });
});

describe("sizes", () => {
  for (const [text, bytes] of [
    ["1048576B", 1_048_576],
    ["1024KiB", 1_048_576],
    ["64MiB", 67_108_864],
    ["1GiB", 1_073_741_824],
    ["2047MiB", 2_146_435_072],
  ] as const)
    test(`${text} is ${bytes} bytes`, () => {
      expect(parseMemorySize(text)).toEqual({ ok: true, value: bytes });
    });

  for (const text of [
    "",
    "512",
    "512MB",
    "512Mi",
    "512M",
    "512mib",
    "1.5GiB",
    "-1MiB",
    "1 MiB",
    "1048575B",
    "1023KiB",
    "2048MiB",
    "2GiB",
    "999999999999999GiB",
    "1TiB",
  ])
    test(`${JSON.stringify(text)} is no size of memory`, () => {
      expect(parseMemorySize(text)).toMatchObject({ ok: false });
    });

  for (const [bytes, text] of [
    [1, "1KiB"],
    [1024, "1KiB"],
    [1025, "2KiB"],
    [1_048_576, "1MiB"],
    [1_048_577, "2MiB"],
  ] as const)
    test(`${bytes} bytes are shown as ${text}`, () => {
      expect(formatSize(bytes)).toBe(text);
    });
});

describe("addresses to listen on", () => {
  for (const [text, host, port] of [
    ["127.0.0.1:53", "127.0.0.1", 53],
    ["0.0.0.0:65535", "0.0.0.0", 65_535],
    ["127.0.0.1:0", "127.0.0.1", 0],
    ["[::1]:53", "::1", 53],
    ["[::]:1", "::", 1],
    ["[fe80::1%lo]:1", "fe80::1%lo", 1],
  ] as const)
    test(`${text} is host ${host} and port ${port}`, () => {
      expect(parseListenAddress(text)).toEqual({ ok: true, value: { host, port } });
    });

  for (const [text, fix] of [
    [":53", `"127.0.0.1:53" for this machine only`],
    ["*:53", `"0.0.0.0:53" for all IPv4 addresses`],
    ["::1:53", `write "[::1]:53"`],
    ["localhost:53", "write an IP address"],
    ["127.0.0.1", "write an IP address"],
    ["127.0.0.1:", "write an IP address"],
    ["127.0.0.1:65536", "write an IP address"],
    ["127.0.0.1:-1", "write an IP address"],
    ["127.0.0.1:5x", "write an IP address"],
    ["127.1:53", "write an IP address"],
    ["010.0.0.1:53", "write an IP address"],
    ["[127.0.0.1]:53", "write an IP address"],
    ["[::1]", "write an IP address"],
    ["[::1]53", "write an IP address"],
    ["[::g]:53", "write an IP address"],
    ["tcp://127.0.0.1:53", "write an IP address"],
    ["", "write an IP address"],
  ] as const)
    test(`${JSON.stringify(text)} is refused with what to write`, () => {
      const parsed = parseListenAddress(text);
      expect(parsed.ok ? undefined : parsed.error.fix).toContain(fix);
    });
});

test("the control API's socket is written with unix:, and its bare path is told so", () => {
  expect(parseAdminListen("unix:/run/weir/admin.sock")).toEqual({
    ok: true,
    value: { path: "/run/weir/admin.sock" },
  });
  expect(parseAdminListen("/run/weir/admin.sock")).toEqual({
    ok: false,
    error: {
      what: '"/run/weir/admin.sock" is no address',
      fix: "write unix:/run/weir/admin.sock for a socket there",
    },
  });
});

describe("addresses of listeners", () => {
  for (const [text, host, port] of [
    ["127.0.0.1:53", "127.0.0.1", 53],
    ["0.0.0.0", "0.0.0.0", undefined],
    ["[::]", "::", undefined],
    ["[::]:0", "::", 0],
  ] as const)
    test(`${text} is host ${host} and port ${port}`, () => {
      expect(parseListenerAddress(text)).toEqual({ ok: true, value: { host, port } });
    });

  for (const text of ["5300", "*", "localhost", "::", "[127.0.0.1]", "", "127.0.0.1:"])
    test(`${JSON.stringify(text)} is refused with what to write`, () => {
      const parsed = parseListenerAddress(text);
      expect(parsed.ok ? undefined : parsed.error.fix).toContain("write an IP address");
    });
});

describe("addresses to send to", () => {
  for (const [text, host, port] of [
    ["127.0.0.1:53", "127.0.0.1", 53],
    ["[2001:db8::1]:53", "2001:db8::1", 53],
    ["nginx:80", "nginx", 80],
    ["my_app.default.svc.cluster.local:8080", "my_app.default.svc.cluster.local", 8080],
    ["3com.example:1", "3com.example", 1],
  ] as const)
    test(`${text} is host ${host} and port ${port}`, () => {
      expect(parseUpstreamAddress(text)).toEqual({ ok: true, value: { host, port } });
    });

  for (const text of [
    "127.0.0.1:0",
    "0.0.0.0:53",
    "[::]:53",
    "[0:0::0]:53",
    "127.1:53",
    "2130706433:53",
    "010.0.0.1:53",
    "1.2.3.4.5:53",
    "-a:53",
    "a-:53",
    "a..b:53",
    ".a:53",
    "a b:53",
    "a/b:53",
    "app",
    ":53",
    `${"a".repeat(254)}:53`,
  ])
    test(`${JSON.stringify(text.slice(0, 40))} is nowhere to send to`, () => {
      expect(parseUpstreamAddress(text)).toMatchObject({ ok: false });
    });
});

describe("ranges of addresses", () => {
  for (const [text, range] of [
    ["192.0.2.0/24", { host: "192.0.2.0", prefixLength: 24 }],
    ["192.0.2.0/24:53", { host: "192.0.2.0", prefixLength: 24, port: 53 }],
    ["0.0.0.0/0", { host: "0.0.0.0", prefixLength: 0 }],
    ["192.0.2.1", { host: "192.0.2.1", prefixLength: 32 }],
    ["192.0.2.1:53", { host: "192.0.2.1", prefixLength: 32, port: 53 }],
    ["192.0.2.128/25", { host: "192.0.2.128", prefixLength: 25 }],
    ["2001:db8::/32", { host: "2001:db8::", prefixLength: 32 }],
    ["2001:db8::/32:53", { host: "2001:db8::", prefixLength: 32, port: 53 }],
    ["[2001:db8::]/32:53", { host: "2001:db8::", prefixLength: 32, port: 53 }],
    ["2001:db8::1", { host: "2001:db8::1", prefixLength: 128 }],
    ["[2001:db8::1]:53", { host: "2001:db8::1", prefixLength: 128, port: 53 }],
  ] as const)
    test(`${text} is read as such`, () => {
      expect(parseAddressRange(text)).toEqual({ ok: true, value: range });
    });

  for (const text of [
    "",
    "/24",
    "192.0.2.0/",
    "192.0.2.0/33",
    "192.0.2.1/24",
    "192.0.2.128/24",
    "2001:db8::1/64",
    "2001:db8::/129",
    "192.0.2.0/24:0",
    "192.0.2.0/24:65536",
    "192.0.2.1:0",
    "fe80::1%lo",
    "app:53",
    "192.0.2.0/24:53:54",
  ])
    test(`${JSON.stringify(text)} is no range`, () => {
      expect(parseAddressRange(text)).toMatchObject({ ok: false });
    });
});

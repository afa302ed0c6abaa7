import { expect, test } from "vitest";
import { parsePeerAddress } from "../../src/config/scalars.ts";
import { tunnelConfig } from "../../src/config/tunnel.ts";

for (const { text, host, port } of [
  { text: "192.0.2.1", host: "192.0.2.1", port: undefined },
  { text: "192.0.2.1:4790", host: "192.0.2.1", port: 4790 },
  { text: "[fd01::2]", host: "fd01::2", port: undefined },
  { text: "[fd01::2]:4790", host: "fd01::2", port: 4790 },
  { text: "fd01::2", host: "fd01::2", port: undefined },
  { text: "fd01::1:beef", host: "fd01::1:beef", port: undefined },
  { text: "2001:db8:1:2:3:4:5:6", host: "2001:db8:1:2:3:4:5:6", port: undefined },
  { text: "fe80::1%eth0", host: "fe80::1%eth0", port: undefined },
])
  test(`a peer may be written ${text}`, () => {
    expect(parsePeerAddress(text)).toEqual({ ok: true, value: { host, port } });
  });

for (const text of ["fd01::1:4789", "fd01::2:0", "::", "::1:2:3", "2001:db8:1:2:3:4:5:6:4789"])
  test(`a peer written ${text} is refused: it could be meant otherwise, or is no address`, () => {
    expect(parsePeerAddress(text)).toMatchObject({
      ok: false,
      error: { fix: expect.stringContaining("[2001:db8::1]") },
    });
  });

for (const { mode, mtu, is } of [
  { mode: undefined, mtu: undefined, is: 1500 },
  { mode: "bridge", mtu: 9000, is: 9000 },
  { mode: "gwlb", mtu: undefined, is: 8568 },
  { mode: "gwlb", mtu: 1500, is: 1500 },
] as const)
  test(`the mtu of a tunnel in mode ${mode} with mtu ${mtu} is ${is}`, () => {
    const listener = { protocol: "geneve", vni: undefined, peers: undefined } as const;
    expect(tunnelConfig({ ...listener, mode, mtu, healthCheck: undefined })?.mtu).toBe(is);
  });

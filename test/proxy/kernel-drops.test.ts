import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect } from "vitest";
import { KernelDrops } from "../../src/proxy/kernel-drops.ts";
import { needing } from "../support/needing.ts";

for (const { title, type, host } of [
  { title: "IPv4", type: "udp4", host: "127.0.0.1" },
  { title: "IPv6", type: "udp6", host: "::1" },
] as const)
  needing("linux")(`datagrams that overflow a listener's ${title} socket are counted`, async () => {
    const listener = createSocket({ type, recvBufferSize: 4096 });
    listener.bind(0, host);
    await once(listener, "listening");
    const { port } = listener.address();
    const drops = new KernelDrops([{ name: "dns", protocol: "udp", address: { host, port } }]);
    expect(drops.of(0)).toBe(0);
    // Nothing reads meanwhile: this thread does not return to its event loop.
    const sender = createSocket({
      type,
      lookup: (name, _, done) => done(null, name, type === "udp4" ? 4 : 6),
    });
    // Its resolver answers at once, and so does bind.
    const bound = once(sender, "listening");
    sender.bind(0, host);
    await bound;
    for (let i = 0; i < 200; i++) sender.send(Buffer.alloc(1000), port, host);
    const counted = new KernelDrops([
      { name: "web", protocol: "tcp", address: { host, port } },
      { name: "dns", protocol: "udp", address: { host, port } },
    ]);
    expect(counted.of(1)).toBeGreaterThan(100);
    expect(counted.of(0)).toBe(0);
    listener.close();
    sender.close();
  });

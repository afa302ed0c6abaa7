import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { toHex } from "../../../src/common/bytes.ts";
import { freePort } from "../../support/processes.ts";
import { cleanUp, udpSocket, until, xdp } from "../rig.ts";
import {
  aws,
  hex,
  startTunnel,
  type TunnelOptions,
  udpFrame,
  under,
  vxlan,
} from "./tunnel-test-rig.ts";

afterEach(cleanUp);

/** A UDP port of 127.0.0.6 that was free a moment ago. */
async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.6");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

describe("A mirror", () => {
  test("takes frames of anyone, cut short too, and sends nothing", async () => {
    const seen: number[] = [];
    const answers = [2, 3, 2, 2];
    const filter = xdp((frame) => {
      seen.push(frame.length);
      if (seen.length === 3) return frame.redirectTo(5);
      return answers[seen.length - 1]!;
    });
    const rig = await startTunnel("vxlan", { mode: "mirror", ingress: [filter] });
    const source = await udpSocket();
    for (let i = 0; i < 3; i++) source.send(under(vxlan, udpFrame("mirrored")), rig.address);
    source.send(under(vxlan, udpFrame("mirrored").subarray(0, 40)), rig.address);
    source.send(under(vxlan, udpFrame("mirrored").subarray(0, 13)), rig.address);
    await until(() => rig.drops("ingress").frame_truncated === 1);
    expect(seen).toEqual([50, 50, 50, 40]);
    expect(rig.packets("ingress")).toEqual({ pass: 2, drop: 3 });
    expect(rig.drops("ingress")).toEqual({ tunnel_mirror_only: 2, frame_truncated: 1 });
    expect(source.received).toBe(0);
  });
});

describe("A gateway load balancer's target", () => {
  /**
   * The load balancer has an address of its own: the answer comes from its own source port. So has the
   * target, where no other test's sockets have these ports.
   */
  const host = "127.0.0.6";
  async function startTarget(options: TunnelOptions = {}) {
    const port = await freeUdpPort();
    const balancer = await udpSocket("127.0.0.4", port);
    const rig = await startTunnel("geneve", {
      mode: "gwlb",
      listen: { host, port },
      peers: [{ name: "az1", address: { host: "127.0.0.4", port } }],
      ...options,
    });
    return { rig, balancer, port };
  }

  test("returns what passes with header and options byte for byte, both UDP ports kept", async () => {
    const frames: string[] = [];
    const { rig, balancer, port } = await startTarget({
      ingress: [
        xdp((frame) => {
          frames.push(toHex(frame.bytes.slice(0, 14)));
          return 2;
        }),
      ],
    });
    // A flow's source port; the answer must come from it, to the port that everything goes to.
    const flowSocket = await udpSocket("127.0.0.4");
    const packet = udpFrame("question").subarray(14);
    for (const options of [aws, hex("0300 0800 00000000 01320102 0102030405060708")]) {
      flowSocket.send(under(options, packet), rig.address);
      const { payload, from } = await balancer.next();
      expect(toHex(payload)).toBe(toHex(under(options, packet)));
      expect(from).toMatchObject({ address: host, port: flowSocket.port });
    }
    expect(port).toBe(rig.address.port);
    // The filter sees an Ethernet header, made from the addresses.
    expect(frames[0]).toBe("02040a00000202040a0000010800");
    expect(rig.packets("ingress")).toEqual({ pass: 2 });
  });

  test("returns nothing for a drop, and what a filter wrote for a pass", async () => {
    const { rig, balancer } = await startTarget({
      ingress: [
        xdp((frame) => {
          if (frame.bytes[42] === 0x64) return 1;
          frame.write(42, [0x41]);
          return 2;
        }),
      ],
    });
    const flowSocket = await udpSocket("127.0.0.4");
    for (const text of ["drop", "pass"])
      flowSocket.send(under(aws, udpFrame(text).subarray(14)), rig.address);
    const { payload } = await balancer.next();
    expect(toHex(payload.subarray(0, aws.length))).toBe(toHex(aws));
    expect(payload.subarray(aws.length + 28).toString()).toBe("Aass");
    expect(rig.packets("ingress")).toEqual({ drop: 1, pass: 1 });
    expect(balancer.received).toBe(1);
  });

  test("says so where a filter turned the packet into what is no IP", async () => {
    const toArp = xdp((frame) => {
      frame.write(12, [8, 6]);
      return 2;
    });
    const { rig } = await startTarget({ ingress: [toArp] });
    (await udpSocket("127.0.0.4")).send(under(aws, udpFrame("x").subarray(14)), rig.address);
    await until(() => rig.drops("ingress").not_routable === 1);
  });

  test("drops what it cannot return from the port it came from, and nothing else", async () => {
    const { rig, balancer } = await startTarget();
    const taken = await udpSocket(host);
    const packet = under(aws, udpFrame("x").subarray(14));
    (await udpSocket("127.0.0.4", taken.port)).send(packet, rig.address);
    await until(() => rig.drops("ingress").send_failed === 1);
    (await udpSocket("127.0.0.4")).send(packet, rig.address);
    await balancer.next();
  });

  test("answers TCP and HTTP health checks while it runs", async () => {
    const healthCheck = { host: "127.0.0.1", port: await freePort() };
    const { rig } = await startTarget({ healthCheck });
    const response = await fetch(`http://127.0.0.1:${healthCheck.port}/anything`);
    expect([response.status, await response.text()]).toEqual([200, "ok\n"]);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(healthCheck.port, "127.0.0.1", () => {
        socket.destroy();
        resolve();
      });
      socket.once("error", reject);
    });
    await rig.listener.stop(0);
    await expect(fetch(`http://127.0.0.1:${healthCheck.port}/`)).rejects.toThrow();
  });

  test("does not start where its health check cannot listen", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await expect(startTarget({ healthCheck: { host: "127.0.0.1", port } })).rejects.toThrow(
      /listener test, health check: cannot listen on tcp 127\.0\.0\.1:\d+: the address is in use/,
    );
    server.close();
  });
});

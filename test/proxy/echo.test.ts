import { randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { startEcho } from "../../src/proxy/echo.ts";
import { cleanUp, onCleanUp, TcpClient, udpSocket } from "./rig.ts";

afterEach(cleanUp);

test("the echo upstream answers datagrams and streams on one loopback port", async () => {
  const echo = await startEcho();
  onCleanUp(() => echo.stop());
  expect(echo.address.host).toBe("127.0.0.1");
  const datagrams = await udpSocket();
  for (const bytes of [0, 1, 65_507]) {
    const payload = randomBytes(bytes);
    datagrams.send(payload, echo.address);
    expect((await datagrams.next()).payload.equals(payload)).toBe(true);
  }
  const content = randomBytes(1_000_000);
  const stream = new TcpClient(echo.address);
  stream.socket.end(content);
  expect(await stream.over).toBe("end");
  expect(stream.received.equals(content)).toBe(true);
});

test("stop closes both ports and running streams", async () => {
  const echo = await startEcho();
  const stream = new TcpClient(echo.address);
  stream.write("x");
  await stream.bytes(1);
  await echo.stop();
  expect(await stream.over).toMatch(/^(end|ECONNRESET)$/);
  expect((await udpSocket("127.0.0.1", echo.address.port)).port).toBe(echo.address.port);
  expect(await new TcpClient(echo.address).over).toBe("ECONNREFUSED");
});

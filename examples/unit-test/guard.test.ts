import { beforeEach, expect, test } from "vitest";
import { type LoadedObject, loadObject, udpFrame } from "weir";

const to = "198.51.100.1:53";
const url = new URL("guard.o", import.meta.url);
let object: LoadedObject;

beforeEach(async () => {
  object = await loadObject(url, { globals: { longest_payload: 100 } });
});

test("a datagram from nobody in particular passes as it is", () => {
  const frame = udpFrame({ from: "192.0.2.1:4000", to, payload: "hello" });
  expect(object.program("guard").run(frame)).toMatchObject({ verdict: "pass", data: frame });
});

test("a blocked source is dropped and counted", () => {
  const blocked = object.map<string, number>("blocked");
  blocked.set("192.0.2.66", 0);
  const frame = udpFrame({ from: "192.0.2.66:4000", to, payload: "hello" });
  expect(object.program("guard").run(frame).verdict).toBe("drop");
  expect([...blocked]).toEqual([["192.0.2.66", 1]]);
});

test("a payload of more than longest_payload is dropped, and traced", () => {
  const run = (payload: Uint8Array) =>
    object.program("guard").run(udpFrame({ from: "192.0.2.1:4000", to, payload }));
  expect(run(new Uint8Array(100)).verdict).toBe("pass");
  const { verdict, trace } = run(new Uint8Array(101));
  expect(verdict).toBe("drop");
  expect(trace).toEqual([expect.stringMatching(/too long: 109$/)]);
});

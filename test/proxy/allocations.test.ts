import { PerformanceObserver } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Flow } from "../../src/packet/flow.ts";
import { PathRig } from "../bench/path-rig.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("a million datagrams from payload to verdict leave nothing on the heap, and hardly any garbage", async () => {
  const rig = await PathRig.create();
  const flow = new Flow(
    "udp",
    { address: "192.0.2.7", port: 5353 },
    { address: "127.0.0.1", port: 53 },
  );
  const payload = Buffer.alloc(512, "weir");
  const judge = (count: number): void => {
    for (let i = 0; i < count; i++)
      if (rig.ingress.datagram(flow, payload).verdict.kind !== "pass") throw new Error("dropped");
  };
  // Until it is compiled.
  judge(100_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ["gc"] });
  judge(1_000_000);
  const grown = process.memoryUsage().heapUsed - before;
  await new Promise((resolve) => setImmediate(resolve));
  observer.disconnect();
  // The young generation holds megabytes: with 50 bytes a datagram it would be collected many times.
  expect(collections).toBeLessThanOrEqual(2);
  collect();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(500_000);
  expect(grown).toBeLessThan(20_000_000);
});

import { PerformanceObserver } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { Flow } from "../../src/packet/flow.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { PathRig } from "../bench/path-rig.ts";
import { needing } from "../support/needing.ts";
import { command, freePort, start, temporaryFolder } from "../support/processes.ts";

setFlagsFromString("--expose-gc");
// Otherwise what a collection frees outside of the heap is told some time after it.
setFlagsFromString("--no-concurrent-array-buffer-sweeping");
const collect = runInNewContext("gc") as () => void;

/** What memory is left in use by a collection, those included whose finalisers had to run first. */
async function left(): Promise<NodeJS.MemoryUsage> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage();
}

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

const hasBatches = (await socketCallsProblem()) === undefined;

for (const io of hasBatches ? (["dgram", "mmsg"] as const) : (["dgram"] as const))
  needing("clang")(
    `io: ${io}: 100,000 datagrams through the sockets, there and back, leave nothing on the heap`,
    { timeout: 60_000 },
    async () => {
      const folder = temporaryFolder();
      onTestFinished(() => folder.remove());
      const load = `${folder.path}/udp-load`;
      const source = fileURLToPath(new URL("../bench/udp-load.c", import.meta.url));
      expect((await command("clang", ["-O2", "-o", load, source])).stderr).toBe("");
      const echoPort = await freePort();
      const echo = start(load, ["echo", `${echoPort}`]);
      onTestFinished(async () => {
        await echo.stop("SIGKILL");
      });
      await echo.printed(/up/);
      const rig = await PathRig.create();
      onTestFinished(() => rig.close());
      const port = await rig.udpListener(echoPort, io);
      const carry = async (datagrams: number): Promise<void> => {
        const { stdout } = await command(load, [
          "ask",
          `${port}`,
          "512",
          `${datagrams}`,
          "4",
          "64",
        ]);
        // One that comes late, on a busy machine, is taken for lost.
        expect(Number(stdout.split(" ")[0])).toBeGreaterThan(datagrams / 2);
      };
      // Until it is compiled.
      await carry(20_000);
      const before = await left();
      await carry(100_000);
      const after = await left();
      // A byte a datagram, there and back, would be a hundred thousand; the compiler takes some more.
      expect(after.heapUsed - before.heapUsed).toBeLessThan(500_000);
      expect(after.external - before.external).toBeLessThan(100_000);
    },
  );

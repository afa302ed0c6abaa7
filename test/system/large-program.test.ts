import { afterEach, expect } from "vitest";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder, weir } from "../support/processes.ts";
import { allSeries, buildProgram, runWeir } from "./truth-rig.ts";

const test = needing("clang");
afterEach(cleanUp);

test("a program too large for V8 runs on the interpreter, and that is said before it does", {
  timeout: 60_000,
}, async () => {
  const config = `
upstreams: { app: { echo: true } }
filters: { large: { object: ${buildProgram("large")} } }
listeners:
  - { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [large] }
`;
  const tooLarge =
    /^program xdp_large: a function of it becomes \d+ bytes of WebAssembly, and V8 takes \d+$/;
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const checked = await weir(["check", "-c", folder.write("weir.yaml", `version: 1${config}`)]);
  expect(checked.code).toBe(0);
  const said = /^weir check: filter large runs on the interpreter: (.*)$/m.exec(checked.stderr);
  expect(said?.[1]).toMatch(tooLarge);

  const running = await runWeir(config);
  const logged = running.process
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const fellBack = logged.findIndex(({ msg }) => msg === "runs on the interpreter");
  expect(logged[fellBack]).toMatchObject({
    level: "warn",
    filter: "large",
    reason: expect.stringMatching(tooLarge),
  });
  expect(fellBack).toBeLessThan(logged.findIndex(({ msg }) => msg === "listening"));
  expect(Object.keys(allSeries(await running.metrics(), "weir_filter_info"))).toEqual([
    expect.stringMatching(/^large interpreter xdp /),
  ]);
  const client = await udpSocket();
  client.send("x", { host: "127.0.0.1", port: running.port("l") });
  expect(await client.text()).toBe("x");
});

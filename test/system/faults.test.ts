import { afterEach, expect } from "vitest";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { cleanUp, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { allSeries, buildProgram, enumNames, namesOf, runWeir } from "./truth-rig.ts";

/**
 * What programs do on real traffic that must not stop a worker, through a running proxy. Verified
 * programs end before their exit by two causes alone:
 *
 * - the budgets: callbacks here, instructions in test/cli/run.test.ts;
 * - an atomic operation out of alignment, in memory that a global function is given.
 *
 * The verifier has proven that the rest cannot be, so that there is nothing to send for them: accesses
 * outside of objects, bad arguments of helpers, calls nested deeper than 8, tail calls in callbacks,
 * packet loads without the context, jumps and calls of nothing. Their checks are tested on programs
 * that nobody has proven (test/engine, test/proxy/udp-verdicts.test.ts). A division by zero and a tail
 * call beyond the 33rd are no faults, and shown here to be none.
 */
const test = needing("clang");
afterEach(cleanUp);

const causes = () => enumNames("faults.c", "cause");
/** What becomes of a datagram, and what its run adds to its count in map `done`. */
const cases = [
  { cause: "misaligned_atomic", argument: 2, reason: "misaligned_atomic", adds: 1 },
  { cause: "misaligned_atomic", argument: 4, adds: 1 },
  { cause: "callbacks", argument: 0, reason: "budget_exceeded", adds: 1 },
  // Its own, and those of the 33 calls that there may be.
  { cause: "tail_calls", argument: 0, adds: 34 },
  { cause: "division", argument: 0, adds: 1 },
  { cause: "division", argument: 3, adds: 334 },
  { cause: "remainder", argument: 0, adds: 1000 },
  { cause: "remainder", argument: 3, adds: 1 },
  { cause: "aborted", argument: 0, reason: "filter_aborted", adds: 0 },
  { cause: "unknown_value", argument: 0, reason: "filter_aborted", adds: 0 },
] as const;

const hasBatches = (await socketCallsProblem()) === undefined;
for (const [engine, io] of [
  ["jit", "dgram"],
  ["interpreter", "dgram"],
  ...(hasBatches ? [["jit", "mmsg"] as const] : []),
] as const)
  test(`${engine}, io: ${io}: what ends a run is counted with its cause, and the worker goes on`, async () => {
    const weir = await runWeir(`
upstreams: { app: { echo: true } }
filters:
  faults:
    object: ${buildProgram("faults")}
    program: xdp_faults
    engine: ${engine}
    metrics:
      counters:
        - name: done
          help: What was done
          labels: [ { name: cause, size: 4, decoders: [ ${namesOf(causes())} ] } ]
listeners:
  - { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, io: ${io}, ingress: [faults] }
`);
    const client = await udpSocket();
    const to = { host: "127.0.0.1", port: weir.port("l") };
    const payload = (cause: string, argument: number): Uint8Array =>
      Uint8Array.of(causes().indexOf(cause), argument, 7);
    // Between others, so that what comes with one in a batch is seen to pass.
    const passed: Uint8Array[] = [];
    for (const one of cases) {
      const sent = [payload("nothing", 1), payload(one.cause, one.argument), payload("nothing", 2)];
      for (const bytes of sent) client.send(bytes, to);
      const expected = "reason" in one ? [sent[0]!, sent[2]!] : sent;
      for (const bytes of expected) expect([...(await client.next()).payload]).toEqual([...bytes]);
      passed.push(...expected);
    }
    const metrics = await weir.metrics();
    const aborted = cases.filter((one) => "reason" in one);
    expect(allSeries(metrics, "weir_packets_total")).toMatchObject({
      "l ingress pass": passed.length,
      "l ingress aborted": aborted.length,
      "l ingress drop": 0,
    });
    const drops = Object.entries(allSeries(metrics, "weir_drops_total")).filter(
      ([labels, count]) => labels.startsWith("l ingress ") && count > 0,
    );
    expect(Object.fromEntries(drops)).toEqual({
      "l ingress misaligned_atomic": 1,
      "l ingress budget_exceeded": 1,
      "l ingress filter_aborted": 2,
    });
    expect(allSeries(metrics, "weir_filter_verdicts_total")).toMatchObject({
      "faults aborted": aborted.length,
      "faults pass": passed.length,
    });
    expect(Object.keys(allSeries(metrics, "weir_filter_info"))).toEqual([
      expect.stringMatching(new RegExp(`^faults ${engine} xdp `)),
    ]);
    const done: Record<string, number> = {};
    for (const { cause, adds } of cases) done[cause] = (done[cause] ?? 0) + adds;
    expect(allSeries(metrics, "done")).toMatchObject(done);
    const logged = weir.process
      .output()
      .split("\n")
      .filter((line) => line.includes('"filter aborted"'))
      .map((line) => JSON.parse(line));
    // One a second and filter: the first.
    expect(logged[0]).toMatchObject({
      filter: "faults",
      program: "xdp_faults",
      code: "misaligned_atomic",
      message: expect.stringMatching(/^atomic operation of 4 bytes at 0x[0-9a-f]+$/),
    });
  });

/**
 * A proxy in a process of its own, which is stopped (SIGSTOP) and goes on: its workers are to stay. Run
 * by watchdog.test.ts.
 */
import { fileURLToPath } from "node:url";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { echoUpstream, planOf } from "./plan-of.ts";
import { cleanUp, value } from "./rig.ts";

/** What it prints once its workers are looked after, and once they have been since it went on. */
export const marks = { started: "started\n", looked: "looked\n" };

const watchMs = 500;

if (process.argv[1] === fileURLToPath(import.meta.url)) await live();

async function live(): Promise<void> {
  const { plan } = await planOf({ upstreams: [await echoUpstream()], listeners: [{}] });
  const proxy = value(
    await startProxy(plan, {
      onFault: () => {},
      onWorkerDied: () => {},
      onWorkerRestart: (_, cause) => process.stdout.write(`died: ${cause}\n`),
      watchMs,
    }),
  );
  process.on("SIGCONT", () => {
    setTimeout(async () => {
      process.stdout.write(marks.looked);
      await proxy.stop(0);
      await cleanUp();
    }, 5 * watchMs);
  });
  process.stdout.write(marks.started);
}

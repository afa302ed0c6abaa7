import { parentPort, workerData } from "node:worker_threads";
import { DataWorker } from "./data-worker.ts";
import type { ControlMessage, WorkerMessage, WorkerStart } from "./messages.ts";

/** Entry of a data worker's thread: starts what its plan says, and takes orders. */
const port = parentPort;
if (port === null) throw new Error("worker.ts runs as a worker thread only");

const send = (message: WorkerMessage): void => port.postMessage(message);
const { plan, worker } = workerData as WorkerStart;

const created = DataWorker.create(plan, worker, {
  onFault: (report) => send({ kind: "fault", report }),
  onTrace: (line) => send({ kind: "trace", line }),
});
const bound = created.ok ? await created.value.listen() : created;

if (created.ok && bound.ok) {
  port.on("message", async (message: ControlMessage) => {
    if (message.kind === "question") {
      const { number, question } = message;
      send({ kind: "answer", number, answer: created.value.answer(question) });
      return;
    }
    await created.value.stop(message.drainTimeoutMs);
    send({ kind: "stopped" });
    // Nothing else is open: the thread ends.
    port.close();
  });
  send({ kind: "ready", bound: bound.value });
} else if (!bound.ok) {
  const { code, where, what, fix } = bound.error;
  send({ kind: "failed", error: { code, where, what, fix } });
}

import { parentPort, workerData } from "node:worker_threads";
import type { Result } from "../common/result.ts";
import { collectStartGarbage } from "../common/start-garbage.ts";
import type { UserError } from "../common/user-error.ts";
import { DataWorker } from "./data-worker.ts";
import { DescriptorSet } from "./descriptor-set.ts";
import type { ControlMessage, WorkerMessage, WorkerStart } from "./messages.ts";
import type { Address } from "./plan.ts";
import { SessionPorts } from "./session-ports.ts";

/** Entry of a data worker's thread: starts what its plan says, and takes orders. */
const port = parentPort;
if (port === null) throw new Error("worker.ts runs as a worker thread only");

const send = (message: WorkerMessage): void => port.postMessage(message);
const { plan, worker, captures, descriptors, sessionPorts } = workerData as WorkerStart;

const data = new DataWorker(
  plan,
  worker,
  {
    onFault: (report) => send({ kind: "fault", report }),
    onTrace: (line) => send({ kind: "trace", line }),
    onAccess: (lines) => send({ kind: "access", lines }),
    onCrowded: (listener) => send({ kind: "crowded", listener }),
  },
  new DescriptorSet(descriptors),
  new SessionPorts(sessionPorts),
);

function tell(prepared: Result<readonly Address[], UserError>): void {
  if (prepared.ok) send({ kind: "ready", bound: prepared.value });
  else {
    const { code, where, what, fix } = prepared.error;
    send({ kind: "failed", error: { code, where, what, fix } });
  }
}

async function obey(message: ControlMessage): Promise<void> {
  switch (message.kind) {
    case "prepare":
      tell(await data.prepare(message.plan));
      break;
    case "abort":
      await data.abort();
      send({ kind: "aborted" });
      break;
    case "commit": {
      const released = data.commit(message.drainTimeoutMs);
      send({ kind: "committed" });
      await released;
      send({ kind: "released", commit: message.commit });
      break;
    }
    case "question":
      send({ kind: "answer", number: message.number, answer: data.answer(message.question) });
      break;
    case "make_room":
      data.makeRoom(message.listener);
      break;
    case "stop":
      send({ kind: "stopped", broken: await data.stop(message.drainTimeoutMs) });
      // Nothing else is open: the thread ends.
      port?.close();
  }
}

async function start(): Promise<void> {
  // From the first turn on: it is asked whether it is stuck.
  port?.on("message", obey);
  for (const order of captures) data.answer({ kind: "start_capture", order });
  const started = await data.prepare(plan);
  collectStartGarbage();
  if (started.ok) await data.commit(0);
  tell(started);
  if (!started.ok) port?.close();
}

// Not awaited: V8 14.6 aborts the process where a thread is ended while a module of it runs that had
// waited for another's top-level await.
void start();

import { expect, test } from "vitest";
import type { AccessLine } from "../../src/proxy/access-log.ts";
import { OpenSessions } from "../../src/proxy/open-sessions.ts";

const parties = { listener: "a", protocol: "tcp", client: "192.0.2.1:1", upstream: "u:1" } as const;
const start = (session: string): AccessLine => ({ ...parties, kind: "start", session });
const end = (session: string): AccessLine => ({
  ...parties,
  kind: "end",
  session,
  reason: "closed",
  durationMs: 1,
  ingress: { packets: {}, bytes: 0 },
  egress: { packets: {}, bytes: 0 },
});

test("sessions that had a start and no end are told once when their worker dies", () => {
  const open = new OpenSessions();
  open.follow([start("1"), start("2"), end("1")], 1000);
  open.follow([start("3"), { kind: "left_out", of: "sessions", lines: 4 }], 1400.6);
  const lost = { ...parties, kind: "lost", reason: "worker_died" };
  expect(open.died(2000)).toEqual([
    { ...lost, session: "2", durationMs: 1000 },
    { ...lost, session: "3", durationMs: 599 },
  ]);
  expect(open.died(3000)).toEqual([]);
});

test("ends that were never told do not make it remember without bound", () => {
  const open = new OpenSessions();
  const sessions = 65_536 + 10;
  for (let i = 0; i < sessions; i++) open.follow([start(`${i}`)], i);
  const lines = open.died(sessions);
  expect(lines).toHaveLength(65_536);
  expect(lines[0]).toMatchObject({ session: "10" });
});

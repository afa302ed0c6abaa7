import { toHex } from "../common/bytes.ts";
import type { Outcome, Workbench } from "../filter/workbench.ts";
import type { MapEvent } from "../maps/event-reader.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { holdsEvents } from "../object/map-rules.ts";
import { targetText } from "./target-text.ts";
import type { Terminal } from "./terminal.ts";

export interface Timing {
  readonly runs: number;
  readonly nanoseconds: number;
}

export function jsonLine(i: number, packet: Uint8Array, outcome: Outcome): string {
  return JSON.stringify({
    i,
    ret: returnedOf(outcome),
    verdict: outcome.verdict?.kind,
    ports: outcome.verdict?.kind === "redirect" ? outcome.verdict.broadcast?.ports : undefined,
    in_len: packet.length,
    out_len: outcome.data.length,
    data: toHex(outcome.data),
    fault: faultOf(outcome),
  });
}

/** A verdict's number as a number; the 64-bit result of a raw program as hex. */
export function returnedOf(outcome: Outcome): number | string {
  return outcome.verdict === undefined
    ? outcome.returned.toString(16)
    : Number(outcome.returned & 0xffff_ffffn);
}

function faultOf(outcome: Outcome): { code: string; message: string } | undefined {
  const { fault } = outcome;
  if (fault === undefined) return undefined;
  return {
    code: fault.code.toUpperCase(),
    message: `instruction ${fault.slot}: ${fault.message}`,
  };
}

/** A run that was ended is told by its cause, one that ended by what it returned. */
export function textLine(i: number, packet: Uint8Array, outcome: Outcome): string {
  const { verdict } = outcome;
  const fault = faultOf(outcome);
  const ended = fault === undefined ? "" : `\n  ${fault.message}`;
  if (verdict === undefined && fault !== undefined) return `aborted: ${fault.message}`;
  if (verdict === undefined) return `r0 = 0x${outcome.returned.toString(16)} (${outcome.returned})`;
  const target =
    verdict.kind === "redirect"
      ? targetText(verdict.ifindex, verdict.broadcast?.ports, "ifindex ")
      : "";
  const length =
    outcome.data.length === packet.length
      ? `${packet.length} bytes`
      : `${packet.length} → ${outcome.data.length} bytes`;
  const changed = Buffer.compare(packet, outcome.data) === 0 ? "unchanged" : toHex(outcome.data);
  const how = fault === undefined ? ` (${returnedOf(outcome)})` : `: ${fault.code}`;
  return `packet ${i}: ${verdict.kind}${target}${how}, ${length}, ${changed}${ended}`;
}

/** What programs have written into rings, a line an event. */
export function printEvents(
  events: readonly MapEvent[],
  json: boolean,
  terminal: Pick<Terminal, "out">,
): void {
  for (const { map, cpu, bytes } of events) {
    const data = toHex(bytes);
    const on = cpu === undefined ? "" : `, cpu ${cpu}`;
    terminal.out(
      json
        ? `${JSON.stringify({ event: { map, cpu, data } })}\n`
        : `  event of map ${map}${on}: ${bytes.length} bytes, ${data}\n`,
    );
  }
}

export function printMaps(
  workbench: Workbench,
  maps: readonly MapHandle[],
  timing: Timing,
  json: boolean,
  terminal: Terminal,
): void {
  if (json) {
    const contents: Record<string, unknown[]> = {};
    for (const map of maps) {
      const entries = [...workbench.access(map).entries()];
      contents[map.name] = entries.map(({ key, values }) =>
        values.length === 1 && !map.type.includes("percpu")
          ? { key: toHex(key), value: toHex(values[0]!) }
          : { key: toHex(key), values: values.map(toHex) },
      );
    }
    const lost = Object.fromEntries(
      maps.map((map) => [map.name, workbench.lostEvents(map)]).filter(([, count]) => count !== 0),
    );
    const summary = {
      maps: contents,
      run_cnt: timing.runs,
      run_time_ns: timing.nanoseconds,
      lost_events: Object.keys(lost).length === 0 ? undefined : lost,
    };
    terminal.out(`${JSON.stringify(summary)}\n`);
    return;
  }
  for (const map of maps) {
    if (holdsEvents(map.type)) {
      const lost = workbench.lostEvents(map);
      if (lost > 0) terminal.out(`map ${map.name} (${map.type}): ${lost} events lost\n`);
      continue;
    }
    const entries = [...workbench.access(map).entries()].filter(
      ({ values }) => !map.type.includes("array") || values.some((value) => value.some(Boolean)),
    );
    terminal.out(`map ${map.name} (${map.type}): ${describeCount(entries.length, map.type)}\n`);
    for (const { key, values } of entries.slice(0, shownEntries))
      terminal.out(`  ${toHex(key)}: ${values.map(toHex).join(" ")}\n`);
    if (entries.length > shownEntries)
      terminal.out(`  … ${entries.length - shownEntries} more (--json shows all)\n`);
  }
  if (timing.runs > 1)
    terminal.out(`${timing.runs} runs, ${Math.round(timing.nanoseconds / timing.runs)} ns each\n`);
}

/** For people: more entries than this are a job for --json. */
const shownEntries = 32;

function describeCount(count: number, type: string): string {
  const entries = count === 1 ? "1 entry" : `${count} entries`;
  return type.includes("array") ? `${entries} not zero` : entries;
}

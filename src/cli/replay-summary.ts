import type { UserError } from "../common/user-error.ts";
import type { ShadowPair } from "../filter/shadow-pairs.ts";
import { type Direction, type Verdict, type VerdictKind, verdictKinds } from "../filter/verdict.ts";
import { bytesText, countOf, countText, durationText } from "./number-text.ts";
import { table } from "./terminal.ts";

/** What was replayed, and through what. */
export interface ReplaySubject {
  readonly file: string;
  readonly listener: string;
  readonly protocol: string;
  readonly direction: Direction;
  /** Names of the chain's filters. */
  readonly chain: readonly string[];
  /** What an ifindex stands for. */
  readonly portName: (ifindex: number) => string;
}

/** What filters of the chain answered. */
export interface FilterRuns {
  readonly filter: string;
  readonly runs: number;
  readonly verdicts: Readonly<Record<VerdictKind, number>>;
  /** As a shadow: how often which of its verdicts met which of the chain's. */
  readonly shadow: readonly ShadowPair[];
}

/** What is known when a replay has ended. */
export interface ReplayEnd {
  /** Seconds that it took. */
  readonly elapsed: number;
  readonly filters: readonly FilterRuns[];
  /** Series of the config's metrics and their values, as a scrape has them. */
  readonly metrics: readonly (readonly [series: string, value: string])[];
  readonly written: readonly {
    readonly path: string;
    readonly packets: number;
    readonly what: string;
  }[];
  readonly interrupted: boolean;
  /** Why the capture was not read to its end. */
  readonly error: UserError | undefined;
}

interface Row {
  readonly verdict: VerdictKind;
  readonly filter: string | undefined;
  readonly reason: string | undefined;
  readonly port: string | undefined;
  packets: number;
  bytes: number;
}

/** A packet as the summary counts it. */
interface Counted {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly originalLength: number;
  readonly data: Uint8Array;
}

/** Counts what became of the packets of a replay. */
export class ReplaySummary {
  readonly #subject: ReplaySubject;
  readonly #rows = new Map<string | undefined, Map<string, Row>>();
  #packets = 0;
  #bytes = 0;
  #cut = 0;
  #first: Counted | undefined;
  #last: Counted | undefined;

  constructor(subject: ReplaySubject) {
    this.#subject = subject;
  }

  get packets(): number {
    return this.#packets;
  }

  /** Counts one packet; `frameBytes` is the frame's length as it came. */
  add(packet: Counted, verdict: Verdict, filter: string | undefined, frameBytes: number): void {
    this.#packets++;
    this.#bytes += frameBytes;
    if (packet.data.length < packet.originalLength) this.#cut++;
    if (packet.seconds !== 0 || packet.nanoseconds !== 0) {
      this.#first ??= packet;
      this.#last = packet;
    }
    const row = this.#row(verdict, filter);
    row.packets++;
    row.bytes += frameBytes;
  }

  json(end: ReplayEnd): string {
    const { file, listener, direction, chain } = this.#subject;
    const error = end.error && { code: end.error.code, message: end.error.message };
    return JSON.stringify({
      file,
      listener,
      direction,
      chain,
      packets: this.#packets,
      bytes: this.#bytes,
      cut: this.#cut,
      first: this.#first && epochText(this.#first),
      last: this.#last && epochText(this.#last),
      verdicts: this.#sorted().map(({ verdict, filter, reason, port, packets, bytes }) => ({
        verdict,
        filter: filter ?? null,
        reason,
        port,
        packets,
        bytes,
      })),
      filters: end.filters.map(({ filter, runs, verdicts, shadow }) => ({
        filter,
        runs,
        ...verdicts,
        ...(shadow.length === 0 ? {} : { shadow }),
      })),
      metrics: Object.fromEntries(
        end.metrics.map(([series, value]) => [series, jsonNumber(value)]),
      ),
      written: end.written.map(({ path, packets }) => ({ path, packets })),
      interrupted: end.interrupted,
      error,
    });
  }

  text(end: ReplayEnd): string {
    const parts = [this.#heading(end)];
    if (this.#packets > 0) parts.push(this.#verdictTable());
    if (end.filters.length > 0 && this.#packets > 0) parts.push(filterTable(end.filters));
    if (end.filters.some(({ shadow }) => shadow.length > 0)) parts.push(shadowTable(end.filters));
    if (end.metrics.length > 0) parts.push(metricTable(end.metrics));
    const written = end.written.map(
      ({ path, packets, what }) => `${countOf(packets, `${what} packet`)} in ${path}\n`,
    );
    if (written.length > 0) parts.push(written.join(""));
    return parts.join("\n");
  }

  #heading(end: ReplayEnd): string {
    const { file, listener, protocol, direction, chain } = this.#subject;
    const through = chain.length === 0 ? "no filters: all pass" : chain.join(" → ");
    const lines = [`${file} → ${listener} (${protocol}), ${direction}: ${through}`];
    const rate =
      this.#packets >= 1000 && end.elapsed > 0
        ? ` (${countText(Math.round(this.#packets / end.elapsed))} packets/s)`
        : "";
    lines.push(
      `${countOf(this.#packets, "packet")}, ${bytesText(this.#bytes)}${this.#span()}, replayed in ${durationText(end.elapsed)}${rate}`,
    );
    if (this.#cut > 0)
      lines.push(
        `${countOf(this.#cut, "packet")} had been cut when captured: filters saw what is left`,
      );
    if (end.interrupted) lines.push("interrupted: this is what was replayed until then");
    return `${lines.join("\n")}\n`;
  }

  #span(): string {
    if (this.#first === undefined || this.#last === undefined) return "";
    const seconds =
      this.#last.seconds -
      this.#first.seconds +
      (this.#last.nanoseconds - this.#first.nanoseconds) / 1e9;
    const from = utcText(this.#first);
    return seconds > 0 ? `, ${durationText(seconds)} from ${from}` : `, at ${from}`;
  }

  #verdictTable(): string {
    const rows = this.#sorted().map(({ verdict, filter, reason, port, packets, bytes }) => [
      verdict,
      filter ?? "-",
      reason ?? (port === undefined ? "-" : `to ${port}`),
      countText(packets),
      `${((packets / this.#packets) * 100).toFixed(1)}%`,
      bytesText(bytes),
    ]);
    const headings = ["verdict", "by filter", "reason", "packets", "share", "bytes"];
    return `${table([headings, ...rows], new Set([3, 4, 5]))}\n`;
  }

  #row(verdict: Verdict, filter: string | undefined): Row {
    const isRedirect = verdict.kind === "redirect";
    const reason = "reason" in verdict ? verdict.reason : undefined;
    const ports = isRedirect ? (verdict.broadcast?.ports ?? [verdict.ifindex]) : [];
    const key = isRedirect ? ports.join() : (reason ?? verdict.kind);
    let rows = this.#rows.get(filter);
    if (rows === undefined) {
      rows = new Map();
      this.#rows.set(filter, rows);
    }
    let row = rows.get(key);
    if (row === undefined) {
      const port = isRedirect ? ports.map(this.#subject.portName).join(", ") : undefined;
      row = { verdict: verdict.kind, filter, reason, port, packets: 0, bytes: 0 };
      rows.set(key, row);
    }
    return row;
  }

  /** By verdict, then by filter as the chain has them, then by number of packets. */
  #sorted(): Row[] {
    const place = (row: Row): number => this.#subject.chain.indexOf(row.filter ?? "");
    return [...this.#rows.values()]
      .flatMap((rows) => [...rows.values()])
      .sort(
        (a, b) =>
          verdictKinds.indexOf(a.verdict) - verdictKinds.indexOf(b.verdict) ||
          place(a) - place(b) ||
          b.packets - a.packets,
      );
  }
}

/** Each filter's own answers; verdicts that none gave have no column. */
function filterTable(filters: readonly FilterRuns[]): string {
  const kinds = verdictKinds.filter((kind) => filters.some(({ verdicts }) => verdicts[kind] > 0));
  const rows = filters.map(({ filter, runs, verdicts }) => [
    filter,
    countText(runs),
    ...kinds.map((kind) => countText(verdicts[kind])),
  ]);
  const right = new Set(kinds.map((_, i) => i + 2)).add(1);
  return `${table([["filter", "runs", ...kinds], ...rows], right)}\n`;
}

/** What shadows would have had otherwise, and what not. */
function shadowTable(filters: readonly FilterRuns[]): string {
  const rows = filters.flatMap(({ filter, shadow: pairs }) =>
    pairs.map(({ live, shadow, packets }) => [
      filter,
      live,
      live === shadow ? "same" : shadow,
      countText(packets),
    ]),
  );
  return `${table([["shadow", "live", "says", "packets"], ...rows], new Set([3]))}\n`;
}

/** For people: more series than this are a job for --metrics. */
const shownMetrics = 20;

function metricTable(metrics: ReplayEnd["metrics"]): string {
  const shown = metrics.slice(0, shownMetrics).map(([series, value]) => [series, value]);
  const more = metrics.length - shown.length;
  const rest = more > 0 ? `… ${countText(more)} more (--metrics FILE writes all)\n` : "";
  return `${table([["metric", "value"], ...shown], new Set([1]))}\n${rest}`;
}

/** Seconds since 1970, with all nine digits. */
function epochText({ seconds, nanoseconds }: Counted): string {
  return `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}

/** ECMAScript's dates end here: 8.64e15 milliseconds. */
const maxDateSeconds = 8.64e12;

function utcText(time: Counted): string {
  if (Math.abs(time.seconds) > maxDateSeconds) return `${epochText(time)} s since 1970`;
  const text = new Date(time.seconds * 1000).toISOString().slice(0, 19);
  return `${text.replace("T", " ")} UTC`;
}

/** Infinities and NaN stay text. */
function jsonNumber(value: string): number | string {
  const number = Number(value);
  return Number.isFinite(number) ? number : value;
}

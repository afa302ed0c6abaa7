import { UserError } from "../common/user-error.ts";

/** What `/metrics` may be written in. */
export type ExpositionFormat = "text" | "openmetrics";

/** Prometheus text format 0.0.4 and OpenMetrics 1.0, as HTTP content types. */
export const contentTypes: Readonly<Record<ExpositionFormat, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

export type MetricType = "counter" | "gauge" | "histogram" | "summary";

/** What each type's samples add to the family's name. */
const sampleSuffixes: Readonly<Record<MetricType, readonly string[]>> = {
  counter: [""],
  gauge: [""],
  histogram: ["", "_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
};

/** The names a family takes: its own and those of its samples. */
export function namesOf(metric: {
  readonly name: string;
  readonly type: MetricType;
}): readonly string[] {
  return sampleSuffixes[metric.type].map((suffix) => metric.name + suffix);
}

/**
 * A metric with all its series. Values live elsewhere (in the arena, mostly) and are read when
 * `collect` is called; nothing is kept between scrapes but rendered labels.
 */
export interface MetricFamily {
  /** The name in the text format, for counters with their `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  collect(out: SampleWriter): void;
}

type Suffix = "" | "_bucket" | "_sum" | "_count";

/** Takes the samples of one family. `labels` is what `renderLabels` gave. */
export interface SampleWriter {
  /** A value under the family's name, or for a part of a histogram or summary its name + suffix. */
  sample(labels: string, value: number, suffix?: Suffix): void;
  /** A histogram's bucket (`le`) or a summary's quantile. */
  bounded(labels: string, kind: "le" | "quantile", bound: number, value: number): void;
}

/**
 * Writes one series of a histogram: `counts[i]` is the number of values up to `bounds[i]`, which
 * includes those of the buckets before it; `count` is that of all values.
 */
export function writeHistogram(
  out: SampleWriter,
  labels: string,
  bounds: readonly number[],
  counts: readonly number[],
  sum: number,
  count: number,
): void {
  for (const [i, bound] of bounds.entries()) out.bounded(labels, "le", bound, counts[i] as number);
  out.bounded(labels, "le", Number.POSITIVE_INFINITY, count);
  out.sample(labels, sum, "_sum");
  out.sample(labels, count, "_count");
}

/** Label names beside values as one series carries them: `a="1",b="x"`, or nothing. */
export function renderLabels(names: readonly string[], values: readonly string[]): string {
  let text = "";
  for (const [i, name] of names.entries())
    text += `${i === 0 ? "" : ","}${name}="${escapeLabelValue(values[i] as string)}"`;
  return text;
}

/** Both formats escape the same three characters in a label's value. */
function escapeLabelValue(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
    : value;
}

function escapeHelp(help: string, format: ExpositionFormat): string {
  const escaped = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return format === "openmetrics" ? escaped.replaceAll('"', '\\"') : escaped;
}

/** Numbers as both formats' parsers, which are Go's `ParseFloat`, take them. */
export function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

/** OpenMetrics writes whole numbers in `le` and `quantile` with a fraction: `1.0`. */
function formatBound(value: number, format: ExpositionFormat): string {
  const text = formatValue(value);
  return format === "openmetrics" && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/**
 * Every family in one format: the body of a scrape. A family that cannot be read now (its map is
 * locked, a UserError) is left out whole, and told to `onSkip`: half its values would look like a
 * counter that went back.
 */
export function renderFamilies(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  onSkip: (name: string, error: UserError) => void,
): string {
  const names = new Set(families.flatMap(namesOf));
  const writer = new TextWriter(format);
  for (const family of families) {
    const failure = writer.family(family, names);
    if (failure !== undefined) onSkip(family.name, failure);
  }
  return writer.end();
}

class TextWriter implements SampleWriter {
  readonly #format: ExpositionFormat;
  #text = "";
  #name = "";

  constructor(format: ExpositionFormat) {
    this.#format = format;
  }

  family(family: MetricFamily, names: ReadonlySet<string>): UserError | undefined {
    const before = this.#text;
    const { name, type } = this.#declared(family, names);
    this.#name = family.name;
    const help = escapeHelp(family.help, this.#format);
    this.#text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    try {
      family.collect(this);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.#text = before;
      return error;
    }
    return undefined;
  }

  /**
   * OpenMetrics names a counter's family without `_total`. Where a counter has no `_total`, or its
   * shorter name is another family's (`weir_sessions` beside `weir_sessions_total`), it would have
   * to get another name; declared `unknown`, the sample keeps its name in both formats.
   */
  #declared(family: MetricFamily, names: ReadonlySet<string>): { name: string; type: string } {
    if (this.#format === "text" || family.type !== "counter") return family;
    const stem = family.name.replace(/_total$/, "");
    if (stem === family.name || names.has(stem)) return { name: family.name, type: "unknown" };
    return { name: stem, type: "counter" };
  }

  sample(labels: string, value: number, suffix: Suffix = ""): void {
    const series = labels === "" ? "" : `{${labels}}`;
    this.#text += `${this.#name}${suffix}${series} ${formatValue(value)}\n`;
  }

  bounded(labels: string, kind: "le" | "quantile", bound: number, value: number): void {
    const before = labels === "" ? "" : `${labels},`;
    const limit = formatBound(bound, this.#format);
    this.sample(`${before}${kind}="${limit}"`, value, kind === "le" ? "_bucket" : "");
  }

  end(): string {
    if (this.#format === "openmetrics") this.#text += "# EOF\n";
    return this.#text;
  }
}

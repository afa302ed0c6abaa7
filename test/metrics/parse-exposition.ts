/** A family as read from a scrape by a parser that shares nothing with the writer. */
export interface ParsedFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: readonly ParsedSample[];
}

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const suffixes: Readonly<Record<string, readonly string[]>> = {
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
  gauge: [""],
  unknown: [""],
};

/**
 * Reads a scrape strictly: HELP, TYPE, then that family's samples; no line of another form, no
 * series twice, no family twice. For OpenMetrics `# EOF` last and counters with `_total`.
 */
export function parseExposition(text: string, format: "text" | "openmetrics"): ParsedFamily[] {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const lines = text.slice(0, -1).split("\n");
  if (format === "openmetrics" && lines.pop() !== "# EOF") throw new Error("no # EOF");
  const families: { name: string; help: string; type: string; samples: ParsedSample[] }[] = [];
  const series = new Set<string>();
  const names = new Set<string>();
  for (let i = 0; i < lines.length; ) {
    const help = /^# HELP (\S+) (.*)$/.exec(lines[i++] as string);
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|unknown)$/.exec(lines[i++] ?? "");
    if (help === null || type === null || help[1] !== type[1])
      throw new Error(`line ${i}: expected HELP and TYPE, found ${lines[i - 2]}, ${lines[i - 1]}`);
    const [name, kind] = [type[1] as string, type[2] as string];
    if (names.has(name)) throw new Error(`family ${name} comes twice`);
    names.add(name);
    const samples: ParsedSample[] = [];
    const allowed =
      kind === "counter" ? [format === "openmetrics" ? "_total" : ""] : (suffixes[kind] ?? []);
    for (; i < lines.length && !(lines[i] as string).startsWith("#"); i++) {
      const sample = parseSample(lines[i] as string);
      if (!allowed.some((suffix) => sample.name === name + suffix))
        throw new Error(`line ${i + 1}: ${sample.name} is not of ${kind} ${name}`);
      const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      if (series.has(identity)) throw new Error(`series ${identity} comes twice`);
      series.add(identity);
      if (kind === "histogram") checkBound(sample);
      samples.push(sample);
    }
    if (kind === "histogram") checkBuckets(name, samples);
    families.push({ name, help: unescaped(help[2] as string), type: kind, samples });
  }
  return families;
}

function checkBound({ name, labels }: ParsedSample): void {
  if (name.endsWith("_bucket") !== Object.hasOwn(labels, "le"))
    throw new Error(`${name}: le is the label of buckets, and only theirs`);
  if (labels.le !== undefined && !/^(\+Inf|-?\d+(\.\d+)?(e[+-]?\d+)?)$/.test(labels.le))
    throw new Error(`${name}: bad bound ${labels.le}`);
}

/** In each series bounds go up to +Inf, counts never down, and the last is the count. */
function checkBuckets(name: string, samples: readonly ParsedSample[]): void {
  const open = new Map<string, { bound: number; count: number }>();
  for (const sample of samples) {
    const { le, ...others } = sample.labels;
    const identity = JSON.stringify(others);
    const before = open.get(identity) ?? { bound: Number.NEGATIVE_INFINITY, count: 0 };
    if (le !== undefined) {
      const bound = Number(le.replace("Inf", "Infinity"));
      if (bound <= before.bound || sample.value < before.count)
        throw new Error(`${name}: bucket ${le} is out of order`);
      open.set(identity, { bound, count: sample.value });
    } else if (sample.name.endsWith("_count")) {
      if (before.bound !== Number.POSITIVE_INFINITY || before.count !== sample.value)
        throw new Error(`${name}: the count is not that of the bucket +Inf`);
    }
  }
}

function parseSample(line: string): ParsedSample {
  const head = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{?)/.exec(line);
  if (head === null) throw new Error(`no metric name: ${line}`);
  const labels: Record<string, string> = {};
  let at = head[0].length;
  for (; head[2] === "{"; ) {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^\\"\n]|\\[\\"n])*)"(,|\})/.exec(line.slice(at));
    if (label === null) throw new Error(`bad label at ${at}: ${line}`);
    const name = label[1] as string;
    if (Object.hasOwn(labels, name)) throw new Error(`label ${name} comes twice: ${line}`);
    labels[name] = unescaped(label[2] as string);
    at += label[0].length;
    if (label[3] === "}") break;
  }
  const value = /^ (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line.slice(at));
  if (value === null) throw new Error(`bad value: ${line}`);
  return { name: head[1] as string, labels, value: Number(value[1]?.replace("Inf", "Infinity")) };
}

function unescaped(text: string): string {
  return text.replace(/\\([\\"n])/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
}

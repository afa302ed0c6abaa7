import { expect, test } from "vitest";
import { UserError } from "../../src/common/user-error.ts";
import {
  type ExpositionFormat,
  type MetricFamily,
  type MetricType,
  renderFamilies,
  renderLabels,
  type SampleWriter,
  writeHistogram,
} from "../../src/metrics/exposition.ts";
import { parseExposition } from "./parse-exposition.ts";

function family(
  name: string,
  type: MetricType,
  collect: (out: SampleWriter) => void,
  help = "Help",
): MetricFamily {
  return { name, help, type, collect };
}

function render(families: readonly MetricFamily[], format: ExpositionFormat): string {
  return renderFamilies(families, format, (_, error) => {
    throw error;
  });
}

const one = (name: string, type: MetricType, value = 1): MetricFamily =>
  family(name, type, (out) => out.sample("", value));

test("the text format is HELP, TYPE and samples", () => {
  const requests = family("requests_total", "counter", (out) => {
    out.sample(renderLabels(["code"], ["200"]), 5);
    out.sample(renderLabels(["code"], ["500"]), 1);
  });
  expect(render([requests], "text")).toBe(
    "# HELP requests_total Help\n" +
      "# TYPE requests_total counter\n" +
      'requests_total{code="200"} 5\n' +
      'requests_total{code="500"} 1\n',
  );
});

test("OpenMetrics names a counter's family without _total and ends in EOF", () => {
  expect(render([one("requests_total", "counter")], "openmetrics")).toBe(
    "# HELP requests Help\n# TYPE requests counter\nrequests_total 1\n# EOF\n",
  );
});

test("a counter keeps its name in OpenMetrics where it has no _total", () => {
  expect(render([one("requests", "counter")], "openmetrics")).toBe(
    "# HELP requests Help\n# TYPE requests unknown\nrequests 1\n# EOF\n",
  );
});

test("a counter keeps its name in OpenMetrics where the name without _total is taken", () => {
  const text = render([one("sessions", "gauge"), one("sessions_total", "counter")], "openmetrics");
  expect(parseExposition(text, "openmetrics").map(({ name, type }) => [name, type])).toEqual([
    ["sessions", "gauge"],
    ["sessions_total", "unknown"],
  ]);
});

for (const format of ["text", "openmetrics"] as const) {
  test(`${format}: label values and help survive quotes, backslashes and line feeds`, () => {
    const value = 'a"b\\c\nd\\n,}{é\u{1f600}';
    const metric = family(
      "weird",
      "gauge",
      (out) => out.sample(renderLabels(["x", "y"], [value, ""]), 1),
      value,
    );
    const [parsed] = parseExposition(render([metric], format), format);
    expect(parsed?.samples).toEqual([{ name: "weird", labels: { x: value, y: "" }, value: 1 }]);
    expect(parsed?.help).toBe(value);
  });

  test(`${format}: values of any size are numbers that Prometheus reads`, () => {
    const values = [0, -1, 1.5, 1e21, 5e-324, 2 ** 53, Number.NaN, 1 / 0, -1 / 0];
    const metric = family("v", "gauge", (out) =>
      values.forEach((value, i) => {
        out.sample(renderLabels(["i"], [String(i)]), value);
      }),
    );
    const [parsed] = parseExposition(render([metric], format), format);
    expect(parsed?.samples.map(({ value }) => value)).toEqual(values);
  });

  test(`${format}: a histogram has its bounds, +Inf, sum and count`, () => {
    const metric = family("lat", "histogram", (out) =>
      writeHistogram(out, renderLabels(["a"], ["x"]), [0.5, 2], [1, 3], 4.5, 6),
    );
    const [parsed] = parseExposition(render([metric], format), format);
    expect(parsed?.samples).toEqual([
      { name: "lat_bucket", labels: { a: "x", le: "0.5" }, value: 1 },
      { name: "lat_bucket", labels: { a: "x", le: format === "text" ? "2" : "2.0" }, value: 3 },
      { name: "lat_bucket", labels: { a: "x", le: "+Inf" }, value: 6 },
      { name: "lat_sum", labels: { a: "x" }, value: 4.5 },
      { name: "lat_count", labels: { a: "x" }, value: 6 },
    ]);
  });

  test(`${format}: a family whose map cannot be read is left out whole, the others stay`, () => {
    const busy = new UserError("MAP_BUSY", "map m", "its lock is held");
    const broken = family("broken", "gauge", (out) => {
      out.sample("", 1);
      throw busy;
    });
    const skipped: [string, UserError][] = [];
    const text = renderFamilies(
      [one("a", "gauge"), broken, one("b", "gauge")],
      format,
      (name, error) => skipped.push([name, error]),
    );
    expect(parseExposition(text, format).map(({ name }) => name)).toEqual(["a", "b"]);
    expect(skipped).toEqual([["broken", busy]]);
  });
}

test("a bug while collecting is not hidden", () => {
  const broken = family("broken", "gauge", () => {
    throw new TypeError("bug");
  });
  expect(() => render([broken], "text")).toThrow(TypeError);
});

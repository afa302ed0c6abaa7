import { expect, test } from "vitest";
import { z } from "zod";
import { mapMetricsSchema } from "../../src/metrics/map-metric-schema.ts";

const label = { name: "rule", size: 4, decoders: [{ name: "uint" }] };

function problems(block: unknown): string[] {
  const parsed = mapMetricsSchema.safeParse(block);
  return (parsed.error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

test("a block in ebpf_exporter's form is taken, with its defaults", () => {
  expect(
    mapMetricsSchema.parse({
      counters: [
        { name: "blocked_packets_total", help: "Packets dropped, by rule", labels: [label] },
      ],
      histograms: [
        {
          name: "latency_seconds",
          help: "Latency",
          bucket_type: "exp2",
          bucket_min: 0,
          bucket_max: 26,
          bucket_multiplier: 0.000001,
          labels: [
            {
              name: "op",
              size: 1,
              padding: 3,
              decoders: [{ name: "uint" }, { name: "static_map", static_map: { 1: "read" } }],
            },
            { name: "bucket", size: 4, decoders: [{ name: "uint" }] },
          ],
        },
      ],
    }),
  ).toEqual({
    counters: [
      {
        name: "blocked_packets_total",
        help: "Packets dropped, by rule",
        labels: [{ ...label, padding: 0 }],
      },
    ],
    gauges: [],
    histograms: [
      {
        name: "latency_seconds",
        help: "Latency",
        bucket_type: "exp2",
        bucket_min: 0,
        bucket_max: 26,
        bucket_multiplier: 0.000001,
        labels: [
          {
            name: "op",
            size: 1,
            padding: 3,
            decoders: [
              { name: "uint" },
              { name: "static_map", static_map: { "1": "read" }, allow_unknown: false },
            ],
          },
          { name: "bucket", size: 4, padding: 0, decoders: [{ name: "uint" }] },
        ],
      },
    ],
  });
});

const counter = (more: object): unknown => ({ counters: [{ name: "a", help: "h", ...more }] });
const decoders = (...list: unknown[]): unknown =>
  counter({ labels: [{ ...label, decoders: list }] });
const histogram = (more: object): unknown => ({
  histograms: [{ name: "a", help: "h", bucket_type: "linear", labels: [label], ...more }],
});

for (const { name, block, problem } of [
  {
    name: "a name outside Prometheus' grammar",
    block: counter({ name: "a-b" }),
    problem: "counters.0.name: must be letters, digits and _, with no digit first",
  },
  {
    name: "a label kept for Prometheus",
    block: counter({ labels: [{ ...label, name: "__name__" }] }),
    problem: "counters.0.labels.0.name: must be letters, digits and _, not a digit or __ first",
  },
  {
    name: "a label twice",
    block: counter({ labels: [label, label] }),
    problem: 'counters.0.labels.1.name: "rule" is there twice',
  },
  {
    name: "an unknown decoder",
    block: decoders({ name: "guess" }),
    problem:
      "counters.0.labels.0.decoders.0.name: expected a decoder's name: uint, uint_be, int, inet_ip, string, hex, dname, static_map, regexp",
  },
  {
    name: "a decoder that needs the kernel",
    block: decoders({ name: "ksym" }),
    problem:
      "counters.0.labels.0.decoders.0.name: decoder ksym is not available: it needs the kernel's symbol table",
  },
  {
    name: "a decoder of the wrong size",
    block: counter({ labels: [{ ...label, size: 3 }] }),
    problem: 'counters.0.labels.0.decoders.0: label "rule", decoder uint: cannot read 3 bytes',
  },
  {
    name: "a bad regular expression",
    block: decoders({ name: "string" }, { name: "regexp", regexps: ["ok", "(a)\\1"] }),
    problem:
      'counters.0.labels.0.decoders.1.regexps.1: label "rule", decoder regexp: regexp "(a)\\1": refers back to group 1',
  },
  {
    name: "both ways to treat unknown values",
    block: decoders(
      { name: "uint" },
      { name: "static_map", static_map: {}, allow_unknown: true, unknown: "x" },
    ),
    problem:
      "counters.0.labels.0.decoders.1.unknown: replaces unknown inputs, and allow_unknown keeps them: remove one of the two",
  },
  {
    name: "a field that is no path",
    block: counter({ field: "a..b" }),
    problem: "counters.0.field: must be a path: a.b[2]",
  },
  {
    name: "an unknown key",
    block: counter({ perf_event_array: true }),
    problem: 'counters.0: Unrecognized key: "perf_event_array"',
  },
  {
    name: "a histogram without range",
    block: histogram({ bucket_min: 1 }),
    problem: "histograms.0.bucket_max: is required for linear",
  },
  {
    name: "a histogram whose bucket is no number",
    block: histogram({
      bucket_min: 0,
      bucket_max: 3,
      labels: [{ ...label, decoders: [{ name: "hex" }] }],
    }),
    problem:
      "histograms.0.labels.0.decoders: the last label is the bucket: its one decoder must be uint",
  },
  {
    name: "a histogram with a label le",
    block: histogram({ bucket_min: 0, bucket_max: 3, labels: [{ ...label, name: "le" }, label] }),
    problem: "histograms.0.labels.0.name: le is the label of the bucket's bound; choose another",
  },
])
  test(`${name} is refused where it stands`, () => expect(problems(block)).toEqual([problem]));

test("the schema is published as JSON Schema with a help line for every key", () => {
  const schema = JSON.stringify(z.toJSONSchema(mapMetricsSchema, { io: "input" }));
  for (const key of ["bucket_multiplier", "static_map", "padding", "field"])
    expect(schema).toContain(`"${key}":{`);
  const shape = mapMetricsSchema.shape.histograms.unwrap().element.shape;
  for (const [key, value] of Object.entries(shape))
    expect(value.description ?? "", key).not.toBe("");
});

import { z } from "zod";
import { compileLabel, maxDecoders, maxLabelBytes } from "./decoders/compile-label.ts";
import { refusedDecoders } from "./decoders/refused.ts";
import { bucketProblem, maxBuckets } from "./histogram-buckets.ts";
import { bucketTypes, type MapMetricsSpec } from "./map-metric-spec.ts";

/** Prometheus data model, without the colon, which is kept for recording rules. */
const metricName = z
  .string()
  .max(200)
  .regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, "must be letters, digits and _, with no digit first")
  .describe("Name of the metric, exported as it is. Counters end in _total by convention.");

const labelName = z
  .string()
  .max(100)
  .regex(/^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/, "must be letters, digits and _, not a digit or __ first")
  .describe("Name of the label.");

const labelValue = z.string().max(128);

const unknown = labelValue
  .optional()
  .describe("One value for all inputs that have none of their own: bounds the number of series.");

const decoder = z.discriminatedUnion(
  "name",
  [
    z.strictObject({ name: z.literal("uint") }).describe("Unsigned integer of 1, 2, 4 or 8 bytes."),
    z
      .strictObject({ name: z.literal("uint_be") })
      .describe("Unsigned integer in network order: a port."),
    z.strictObject({ name: z.literal("int") }).describe("Signed integer of 1, 2, 4 or 8 bytes."),
    z.strictObject({ name: z.literal("inet_ip") }).describe("IPv4 (4 bytes) or IPv6 (16 bytes)."),
    z.strictObject({ name: z.literal("string") }).describe("Text up to the first NUL."),
    z.strictObject({ name: z.literal("hex") }).describe("Two digits a byte."),
    z.strictObject({ name: z.literal("dname") }).describe("DNS name in wire form."),
    z
      .strictObject({
        name: z.literal("static_map"),
        static_map: z.record(z.string(), labelValue).describe("Input text to label value."),
        allow_unknown: z
          .boolean()
          .default(false)
          .describe("Inputs not in the map: true keeps them, false makes them unknown:INPUT."),
        unknown,
      })
      .refine((spec) => !spec.allow_unknown || spec.unknown === undefined, {
        message: "replaces unknown inputs, and allow_unknown keeps them: remove one of the two",
        path: ["unknown"],
      })
      .describe("Replaces text by a table."),
    z
      .strictObject({
        name: z.literal("regexp"),
        regexps: z
          .array(z.string().max(500))
          .min(1)
          .max(64)
          .describe("Patterns in Go's syntax; the first that matches gives the label."),
        unknown,
      })
      .describe("Keeps what matches; leaves the series out where nothing does."),
  ],
  {
    error: (issue) => {
      const name = (issue.input as { readonly name?: unknown } | undefined)?.name;
      const reason = typeof name === "string" ? refusedDecoders[name] : undefined;
      if (reason !== undefined) return `decoder ${name} is not available: it ${reason}`;
      return `expected a decoder's name: ${decoderNames.join(", ")}`;
    },
  },
);

const decoderNames = [
  "uint",
  "uint_be",
  "int",
  "inet_ip",
  "string",
  "hex",
  "dname",
  "static_map",
  "regexp",
];

const label = z
  .strictObject({
    name: labelName,
    size: z.int().min(1).max(maxLabelBytes).describe("Bytes of the key this label reads."),
    padding: z
      .int()
      .min(0)
      .max(512)
      .default(0)
      .describe("Bytes of the key skipped after the label: a struct's alignment."),
    decoders: z
      .array(decoder)
      .min(1)
      .max(maxDecoders)
      .describe("Steps from bytes to text, in order."),
  })
  .superRefine((spec, context) => {
    const compiled = compileLabel(spec);
    if (compiled.ok) return;
    for (const { path, what, fix } of compiled.error)
      context.addIssue({ code: "custom", path: [...path], message: what, params: { fix } });
  });

const labels = z
  .array(label)
  .max(32)
  .default([])
  .superRefine((specs, context) => {
    const names = new Set<string>();
    for (const [i, { name }] of specs.entries()) {
      if (names.has(name))
        context.addIssue({
          code: "custom",
          path: [i, "name"],
          message: `"${name}" is there twice`,
        });
      names.add(name);
    }
  })
  .describe("Labels carved from the key, from its first byte on, the whole key.");

const common = {
  name: metricName,
  help: z.string().min(1).max(1_000).describe("What the metric counts, for people."),
  map: z.string().min(1).optional().describe("The map to read; by default the metric's name."),
  field: z
    .string()
    .regex(/^[A-Za-z_]\w*(\[\d{1,9}\])*(\.[A-Za-z_]\w*(\[\d{1,9}\])*)*$/, "must be a path: a.b[2]")
    .max(500)
    .optional()
    .describe("One member of a struct value, by BTF name: bytes, stats.drops, queues[2]."),
  labels,
};

const bucketKey = z.int().min(0);

const histogram = z
  .strictObject({
    ...common,
    bucket_type: z
      .enum(bucketTypes)
      .describe("How a bucket key becomes its inclusive upper bound: 2^i, 0 then 2^(i-1), i, i."),
    bucket_multiplier: z
      .number()
      .positive()
      .default(1)
      .describe("Factor on bounds and sum: 0.000001 makes microseconds seconds."),
    bucket_min: bucketKey.optional().describe("First bucket key; not for fixed."),
    bucket_max: bucketKey
      .optional()
      .describe("Last bucket key; not for fixed. The next is the sum."),
    bucket_keys: z.array(bucketKey).max(maxBuckets).optional().describe("Bucket keys of fixed."),
  })
  .superRefine((spec, context) => {
    const problem = bucketProblem(spec);
    if (problem !== undefined)
      context.addIssue({ code: "custom", path: [problem.key], message: problem.what });
    const last = spec.labels.at(-1);
    const at = spec.labels.length - 1;
    if (last === undefined)
      context.addIssue({
        code: "custom",
        path: ["labels"],
        message: "the last must be the bucket",
      });
    else if (last.decoders.length !== 1 || last.decoders[0]?.name !== "uint")
      context.addIssue({
        code: "custom",
        path: ["labels", at, "decoders"],
        message: "the last label is the bucket: its one decoder must be uint",
      });
    const taken = spec.labels.findIndex(({ name }, i) => i < at && name === "le");
    if (taken !== -1)
      context.addIssue({
        code: "custom",
        path: ["labels", taken, "name"],
        message: "le is the label of the bucket's bound; choose another",
      });
  });

/** The `metrics` block of a filter; `auto` in its place stands for `autoMetrics`. */
export const mapMetricsSchema = z.strictObject({
  counters: z.array(z.strictObject(common)).default([]).describe("Maps that count up."),
  gauges: z.array(z.strictObject(common)).default([]).describe("Maps whose values go up and down."),
  histograms: z.array(histogram).default([]).describe("Maps whose last key part is a bucket."),
}) satisfies z.ZodType<MapMetricsSpec>;

import { expect, test } from "vitest";
import { negotiateFormat } from "../../src/metrics/negotiate.ts";

for (const { name, accept, format } of [
  { name: "no Accept header", accept: undefined, format: "text" },
  { name: "curl", accept: "*/*", format: "text" },
  {
    name: "a browser",
    accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    format: "text",
  },
  {
    name: "Prometheus 2",
    accept:
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
      "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    format: "openmetrics",
  },
  {
    name: "Prometheus 3",
    accept:
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/" +
      "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
      "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    format: "openmetrics",
  },
  {
    name: "a client that prefers text",
    accept: "application/openmetrics-text;q=0.2, text/plain;q=0.9",
    format: "text",
  },
  {
    name: "a client that refuses OpenMetrics",
    accept: "application/openmetrics-text;q=0",
    format: "text",
  },
  {
    name: "a version of OpenMetrics that is not ours",
    accept: "application/openmetrics-text;version=2.0.0",
    format: "text",
  },
  { name: "a bad weight", accept: "application/openmetrics-text;q=x", format: "text" },
  { name: "nonsense", accept: ";;;,,,q=1;=", format: "text" },
] as const)
  test(`${name} gets ${format}`, () => expect(negotiateFormat(accept)).toBe(format));

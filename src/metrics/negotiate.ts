import type { ExpositionFormat } from "./exposition.ts";

/** Versions of OpenMetrics whose rules our output keeps. */
const openMetricsVersions: readonly string[] = ["1.0.0", "0.0.1"];

/** Media ranges looked at; a scraper sends about six. */
const maxRanges = 32;

/**
 * The format for an Accept header (RFC 9110 §12.5.1): OpenMetrics where it is named and wanted at
 * least as much as text, else the text format, which is also what a browser and curl get.
 */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
  let openMetrics = 0;
  let text = 0;
  for (const range of (accept ?? "").split(",", maxRanges)) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const quality = qualityOf(parameters);
    if (type === "application/openmetrics-text" && versionFits(parameters))
      openMetrics = Math.max(openMetrics, quality);
    else if (type === "text/plain" || type === "text/*") text = Math.max(text, quality);
  }
  return openMetrics > 0 && openMetrics >= text ? "openmetrics" : "text";
}

function versionFits(parameters: readonly string[]): boolean {
  const version = parameters.find((parameter) => parameter.startsWith("version="));
  return version === undefined || openMetricsVersions.includes(version.slice("version=".length));
}

function qualityOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith("q="));
  if (weight === undefined) return 1;
  const quality = Number(weight.slice(2));
  return quality >= 0 && quality <= 1 ? quality : 0;
}

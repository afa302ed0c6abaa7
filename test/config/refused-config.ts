import { parseConfig } from "../../src/config/load-config.ts";

/** What test configs are called: in config/, so that `../filters/` is the project's. */
export const testFile = "config/test.yaml";

/** A config that is refused, and all that is said about it. */
export interface RefusedConfig {
  readonly title: string;
  readonly text: string;
  /** A line each, as printed, without the file's name. */
  readonly problems: string;
}

export function problemsOf(text: string): string[] {
  const config = parseConfig(text, testFile);
  return config.ok ? [] : config.error.map((problem) => problem.message);
}

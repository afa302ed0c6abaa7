import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Test data from other projects, kept beside the project and never committed to it.
 * Undefined where it is not there: tests over it are then skipped by name.
 */
export function corpus(path: string): string | undefined {
  const file = fileURLToPath(new URL(`../../../shared/corpora/${path}`, import.meta.url));
  return existsSync(file) ? file : undefined;
}

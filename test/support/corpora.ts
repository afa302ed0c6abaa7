import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Test data from other projects, kept beside the project and never committed to it.
 * Undefined where it is not there: tests over it are then skipped by name. Where
 * WEIR_TESTS_REQUIRE_ALL is set (CI) it must be there: no skip goes unseen.
 */
export function corpus(path: string): string | undefined {
  const file = fileURLToPath(new URL(`../../../shared/corpora/${path}`, import.meta.url));
  if (existsSync(file)) return file;
  if (process.env.WEIR_TESTS_REQUIRE_ALL)
    throw new Error(`needs the corpus ${path}, and WEIR_TESTS_REQUIRE_ALL allows no skip`);
  return undefined;
}

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/load-config.ts";

const readme = fileURLToPath(new URL("../../README.md", import.meta.url));

test("the config in the README is one that runs", () => {
  const [block] = [...readFileSync(readme, "utf8").matchAll(/^```yaml\n(.*?)^```/gms)];
  // As if it were saved beside the README, as the README says.
  const config = parseConfig(block![1]!, readme.replace("README.md", "dns.yaml"));
  expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual([]);
});

/**
 * Writes config/weir.schema.json (JSON Schema, for editors) and config/README.md (the reference of
 * all keys) from the schema that Weir reads configs with, and config/control-api.openapi.json from the
 * schemas that the control API checks requests with. `--check` writes nothing and fails where a
 * file is not what would be written.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { openApiDocument } from "../src/admin/openapi.ts";
import { configSchema } from "../src/config/schema.ts";
import { type JsonSchema, referencePage } from "./reference-page.ts";

const folder = fileURLToPath(new URL("../config/", import.meta.url));

/** The files' names in config/ and what belongs into them. */
export function schemaFiles(): Readonly<Record<string, string>> {
  const { $schema, ...body } = z.toJSONSchema(configSchema, { io: "input", reused: "inline" });
  const schema = {
    $schema,
    title: "Config of Weir",
    description: "A UDP/TCP proxy that runs every packet through eBPF filters in user space.",
    ...body,
  };
  return {
    "weir.schema.json": `${JSON.stringify(schema, null, 2)}\n`,
    "README.md": referencePage(schema as JsonSchema),
    "control-api.openapi.json": `${JSON.stringify(openApiDocument(), null, 2)}\n`,
  };
}

if (import.meta.main) {
  const check = process.argv.includes("--check");
  for (const [name, text] of Object.entries(schemaFiles())) {
    const file = `${folder}${name}`;
    const current = existsSync(file) && readFileSync(file, "utf8") === text;
    if (!check) writeFileSync(file, text);
    else if (!current) {
      process.stderr.write(
        `config/${name} is not what the schema gives: run npm run build:schema\n`,
      );
      process.exitCode = 1;
    }
  }
}

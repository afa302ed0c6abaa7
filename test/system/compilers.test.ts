import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWith } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { expectAsKernel } from "./expect-as-kernel.ts";

/**
 * A newer clang makes other code of the same sources, and -mcpu=v4 has instructions that clang 14 does
 * not know: gotol, sign-extending moves and loads, signed division, bswap. What comes of it, beside the
 * kernel.
 */
const clang = "clang-19";
const test = needing(clang, "root", "kernel bpf()");

/** What is built and judged in a way of its own, by its source's name. */
const settings: Readonly<Record<string, Parameters<typeof expectAsKernel>[1]>> = {
  "judge-maps": {
    fillings: ["devices", "device_hash"].map((map) => ({
      map,
      key: Uint8Array.of(1, 0, 0, 0),
      value: Uint8Array.of(1, 0, 0, 0),
    })),
  },
  "rate-limit": { apart: ["sources"] },
  "syn-guard": { apart: ["sources"] },
  "dns-guard": { apart: ["asked_queries"] },
};

/** What no two runs agree about, what has a test of its own for each clang, what no kernel or no JIT takes. */
const others = ["fuzz", "map-helpers", "map-misuse", "large"];

function sources(folder: string): string[] {
  const path = fileURLToPath(new URL(folder, import.meta.url));
  const names = readdirSync(path).filter((name) => name.endsWith(".c"));
  return names.map((name) => path + name).filter((file) => !others.includes(basename(file, ".c")));
}

for (const source of [...sources("./programs/"), ...sources("../../filters/")])
  test(`the kernel gives what ${clang} builds of ${basename(source)} for -mcpu=v4 the same verdict, bytes and maps`, async () => {
    const file = buildWith(clang, source, "-mcpu=v4");
    await expectAsKernel(file, { ...settings[basename(source, ".c")], oursOnly: true });
  });

const programs = fileURLToPath(new URL("./programs/", import.meta.url));
for (const cpu of ["v1", "v2", "v3", "v4"])
  test(`the kernel gives what ${clang} builds for -mcpu=${cpu}, with types and without, the same verdict, bytes and maps`, async () => {
    const legacy = `${programs}judge-legacy.c`;
    const inKernel = buildWith(clang, legacy, `-mcpu=${cpu}`);
    for (const form of ["-DLEGACY", "-DIPROUTE2"]) {
      const untyped = buildWith(clang, legacy, `-mcpu=${cpu}`, form, "-g0");
      await expectAsKernel(untyped, { inKernel, oursOnly: true });
    }
    for (const name of cpu === "v4" ? [] : ["judge-code", "judge-helpers", "tail-calls"])
      await expectAsKernel(buildWith(clang, `${programs}${name}.c`, `-mcpu=${cpu}`), {
        oursOnly: true,
      });
  });

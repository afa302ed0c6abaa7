import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { needing } from "../support/needing.ts";
import { expectKernelAccepts } from "./kernel-load.ts";

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const test = needing("bpftool", "root", "kernel bpf()");

for (const name of readdirSync(filters).filter((file) => file.endsWith(".o")))
  test(`the kernel's verifier accepts every program of ${name}`, () =>
    expectKernelAccepts(`${filters}${name}`));

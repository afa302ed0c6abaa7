#!/usr/bin/env node
// Plain JavaScript that old versions of Node can parse too: it says which Node is needed before
// anything newer is read. In the published package `dist/` is there, in a checkout `src/`.
import { existsSync } from "node:fs";

const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `weir: needs Node 24 or newer, this is ${process.version}; install one, or in a checkout use "npm start", which brings its own`,
  );
  process.exit(1);
}

const source = new URL("../src/cli/main.ts", import.meta.url);
const { main } = await import(
  existsSync(source) ? source.href : new URL("../dist/cli/main.js", import.meta.url).href
);
process.exitCode = await main(process.argv.slice(2));

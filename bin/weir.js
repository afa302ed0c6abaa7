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

const words = process.argv.slice(2);
const isServer = words[0] === "run";

// The first process of a container would lose a signal that nobody listens for, and another would die
// of it: a server listens before it loads what it is made of, which takes longer than anything here.
const signals = ["SIGTERM", "SIGINT", "SIGHUP"];
const came = [];
const listen = (signal) => came.push(signal);
if (isServer) for (const signal of signals) process.on(signal, listen);
const early = {
  take() {
    for (const signal of signals) process.off(signal, listen);
    return came;
  },
};

const source = new URL("../src/cli/main.ts", import.meta.url);
const { main } = existsSync(source)
  ? await import(source.href)
  : (await import("./bundle.cjs")).default.load("main.cjs");
process.exitCode = await main(words, early);
// A server that has said that it stopped waits for nothing more, such as a name server's answer, but for
// the reader of its log, who may be stuck.
if (isServer) {
  await new Promise((resolve) => {
    setTimeout(resolve, 2_000);
    process.stderr.write("", resolve);
  });
  process.exit();
}

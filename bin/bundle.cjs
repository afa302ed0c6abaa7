// Loads what build-package.ts made of the sources, with V8's code for it where that is at hand: the
// functions that a start runs need not be compiled then. V8 takes no code that another version of it made,
// or the same with other flags, and compiles the source as ever. It believes what it takes: the code lies
// beside the bundle, belongs to whom that belongs, and is made as the image is (build-code-cache.ts).
// WEIR_CODE_CACHE=off does without.
"use strict";

const { mkdirSync, readFileSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { Script } = require("node:vm");
const { isMainThread } = require("node:worker_threads");
const { crc32 } = require("node:zlib");

const folder = join(__dirname, "../dist/js");
const codeFolder = join(folder, "code", isMainThread ? "main" : "worker");
const outside = createRequire(join(folder, "main.cjs"));
/** By file name: modules, and the scripts that they are of. */
const modules = new Map();
const scripts = new Map();
/** Of a file of code, at its end: a checksum of source and code. */
const sumBytes = 4;

/** Exports of a file of the bundle, which is run where it has not been. */
function load(name) {
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const file = join(folder, name);
  const text = readFileSync(file, "utf8");
  const script = new Script(
    `(function (exports, require, module, __filename, __dirname) { ${text}\n})`,
    {
      filename: file,
      cachedData: codeOf(name, text),
    },
  );
  const module = { exports: {} };
  modules.set(name, module);
  scripts.set(name, script);
  script.runInThisContext()(module.exports, requireFrom, module, file, folder);
  return module.exports;
}

function requireFrom(name) {
  return name.startsWith("./") ? load(name.slice(2)) : outside(name);
}

/** V8's code for a file; undefined: there is none, or it is of another text, or damaged. */
function codeOf(name, text) {
  if (process.env.WEIR_CODE_CACHE === "off") return undefined;
  let bytes;
  try {
    bytes = readFileSync(codeFile(name));
  } catch {
    return undefined;
  }
  if (bytes.length < sumBytes) return undefined;
  const code = bytes.subarray(0, -sumBytes);
  return bytes.readUInt32LE(code.length) === sumOf(text, code) ? code : undefined;
}

function codeFile(name) {
  return join(codeFolder, `${name}.code`);
}

function sumOf(text, code) {
  return crc32(code, crc32(text));
}

/** What has run until this thread ends is what the next start will run. */
function keepCode() {
  // Code that was not used for long would be given back before it is kept.
  globalThis.gc = undefined;
  process.on("exit", () => {
    mkdirSync(codeFolder, { recursive: true });
    for (const [name, script] of scripts) {
      const code = script.createCachedData();
      const sum = Buffer.alloc(sumBytes);
      sum.writeUInt32LE(sumOf(readFileSync(join(folder, name), "utf8"), code));
      writeFileSync(codeFile(name), Buffer.concat([code, sum]));
    }
  });
}

if (process.env.WEIR_CODE_CACHE === "write") keepCode();

module.exports = { load, scripts };

import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

/**
 * A thread that is ended while a module runs that had waited for another's top-level await takes the
 * process with it: V8 14.6 aborts. And the package's files are scripts, which have none.
 */
const folder = fileURLToPath(new URL("../../src/", import.meta.url));

function hasTopLevelAwait(node: ts.Node): boolean {
  if (ts.isFunctionLike(node)) return false;
  if (ts.isAwaitExpression(node)) return true;
  if (ts.isForOfStatement(node) && node.awaitModifier !== undefined) return true;
  return ts.forEachChild(node, hasTopLevelAwait) ?? false;
}

function parsed(file: string, text: string): ts.SourceFile {
  return ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
}

for (const { text, has } of [
  { text: "await x;", has: true },
  { text: "export const y = f(await x);", has: true },
  { text: "for await (const y of x) f(y);", has: true },
  { text: "async function f() { await x; }", has: false },
  { text: "const f = async () => { for await (const y of x) f(y); };", has: false },
  { text: "class F { async f() { await x; } }", has: false },
])
  test(`${text} ${has ? "is" : "is not"} found to have a top-level await`, () => {
    expect(hasTopLevelAwait(parsed("x.ts", text))).toBe(has);
  });

test("no module has a top-level await", () => {
  const files = globSync("**/*.ts", { cwd: folder, exclude: ["runtime/wasm/**"] });
  expect(files.length).toBeGreaterThan(300);
  const having = files.filter((file) =>
    hasTopLevelAwait(parsed(file, readFileSync(folder + file, "utf8"))),
  );
  expect(having).toEqual([]);
});

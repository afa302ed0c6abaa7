import { expect, test } from "vitest";
import { GatheredText, writeWhole } from "../../src/cli/whole-io.ts";

/** A descriptor that takes at most `most` bytes a write, and at each other one says "later". */
function slowPipe(most: number): { taken: () => string; write: typeof write; later: () => number } {
  const taken: Uint8Array[] = [];
  let calls = 0;
  let later = 0;
  function write(_descriptor: number, bytes: Uint8Array, at: number): number {
    if (calls++ % 2 === 0) {
      later++;
      throw Object.assign(new Error("EAGAIN"), { code: "EAGAIN" });
    }
    const part = bytes.slice(at, at + most);
    taken.push(part);
    return part.length;
  }
  return { taken: () => Buffer.concat(taken).toString(), write, later: () => later };
}

test("a text is written whole to a pipe that is full now and then and takes parts", () => {
  const pipe = slowPipe(3);
  writeWhole(1, "one, zwölf, twenty", pipe.write);
  expect(pipe.taken()).toBe("one, zwölf, twenty");
  expect(pipe.later()).toBe(7);
});

test("a reader that is gone ends the write with what the system says", () => {
  const gone = (): never => {
    throw Object.assign(new Error("EPIPE"), { code: "EPIPE" });
  };
  expect(() => writeWhole(1, "x", gone)).toThrow("EPIPE");
});

test("lines are gathered, and go out in order, bounded, with nothing lost", () => {
  const written: string[] = [];
  const gathered = new GatheredText((text) => written.push(text));
  const line = `${"x".repeat(999)}\n`;
  for (let i = 0; i < 200; i++) gathered.add(line);
  gathered.flush();
  gathered.flush();
  expect(written.map((text) => text.length)).toEqual([66_000, 66_000, 66_000, 2_000]);
  expect(written.join("")).toBe(line.repeat(200));
});

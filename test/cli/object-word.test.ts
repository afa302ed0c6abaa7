import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { inProcess } from "./in-process.ts";

const object = fileURLToPath(new URL("../../filters/dns-guard.o", import.meta.url));

for (const words of ["prog list", "prog show", "map list", "map show"])
  test(`${words} says how an object is given, where one stands in place of a name`, async () => {
    for (const file of ["mine.o", object])
      expect(await inProcess([...words.split(" "), file, "--json"])).toEqual({
        code: 2,
        stdout: expect.anything(),
        stderr: `weir ${words}: ${file}: is an object file, and a name of a running proxy belongs here; weir ${words} --object ${file}\n`,
      });
    const told = await inProcess([...words.split(" "), "--object", object]);
    expect(told).toMatchObject({ code: 0, stderr: "" });
  });

for (const form of ["xlated", "wasm"])
  test(`prog dump ${form} takes an object before a program, and by --object`, async () => {
    const dump = async (...words: string[]): Promise<string> => {
      const { stdout, ...others } = await inProcess(["prog", "dump", form, ...words]);
      expect(others).toEqual({ code: 0, stderr: "" });
      return stdout;
    };
    const [learn, guard] = [
      await dump("--object", object, "xdp_dns_learn"),
      await dump("--object", object, "xdp_dns_guard"),
    ];
    expect(learn).not.toBe(guard);
    expect(learn.length).toBeGreaterThan(500);
    expect(await dump(object, "xdp_dns_learn")).toBe(learn);
    expect(await dump(object, "name", "xdp_dns_guard")).toBe(guard);
    const several = await inProcess(["prog", "dump", form, object]);
    expect(several.code).toBe(2);
    expect(several.stderr).toMatch(/has 2 programs; name one/);
  });

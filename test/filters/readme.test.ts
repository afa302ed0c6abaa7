import { readFileSync } from "node:fs";
import { afterAll, afterEach, expect, test } from "vitest";
import { maxProvenSteps } from "../../src/engine/engine.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { inProcess } from "../cli/in-process.ts";
import { build } from "../object/clang.ts";
import { cleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { command, temporaryFolder, weir } from "../support/processes.ts";
import { runWeir } from "../system/truth-rig.ts";

const page = readFileSync(new URL("../../filters/README.md", import.meta.url), "utf8");
const folder = temporaryFolder();
afterAll(() => folder.remove());
afterEach(cleanUp);

needing("clang")(
  "the filter in filters/README.md builds by its command and does what it says",
  async () => {
    const [, source] = /```c\n(.*?)```/s.exec(page)!;
    const [, build] = /```sh\n(clang .*?)\n```/s.exec(page)!;
    folder.write("udp-sizes.c", source!);
    const built = await command("sh", ["-c", `cd "$1" && ${build}`, "sh", folder.path]);
    expect(built).toMatchObject({ code: 0, stderr: "" });
    const frame = (port: string): string =>
      `02005e00000102005e00000208004500001d0000000040110000cb0071077f0000011234${port}0009000078`;
    const run = ["prog", "run", `${folder.path}/udp-sizes.o`, "--json"];
    const { stdout } = await weir([...run, "--data", frame("0035"), "--data", frame("0009")]);
    const [first, second, last] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect([first.verdict, second.verdict]).toEqual(["pass", "drop"]);
    expect(last.maps.datagrams[0].values).toEqual(["0200000000000000"]);
  },
);

needing("clang")(
  "the filter and the config that copy to several receivers do, and entries come and go",
  async () => {
    const [, part] = /## Copies to several receivers(.*?)\n## /s.exec(page)!;
    const [, source] = /```c\n(.*?)```/s.exec(part!)!;
    const [, config] = /```yaml\n(.*?)```/s.exec(part!)!;
    const object = build(folder.write("fan-out.c", source!));
    const upstreams = [await udpUpstream("old:"), await udpUpstream("new:")];
    const running = await runWeir(
      config!
        .replace("version: 1\n", `admin: { listen: "unix:${folder.path}/admin.sock" }\n`)
        .replace("fan-out.o", object)
        .replace("127.0.0.1:9995", `127.0.0.1:${upstreams[0]!.port}`)
        .replace("127.0.0.1:9996", `127.0.0.1:${upstreams[1]!.port}`)
        .replace("127.0.0.1:2055", "127.0.0.1:0"),
    );
    const client = await udpSocket();
    const send = (text: string) =>
      client.send(text, { host: "127.0.0.1", port: running.port("netflow") });
    const map = (...args: string[]) =>
      inProcess(["map", ...args, "--admin", `unix:${folder.path}/admin.sock`]);
    send("one");
    expect([await client.text(), await client.text()].toSorted()).toEqual(["new:one", "old:one"]);
    expect(await map("delete", "receivers", "key", "2")).toMatchObject({ code: 0 });
    send("two");
    expect(await client.text()).toBe("old:two");
    expect(await map("update", "receivers", "key", "2", "value", "2")).toMatchObject({ code: 0 });
    send("three");
    expect([await client.text(), await client.text()].toSorted()).toEqual([
      "new:three",
      "old:three",
    ]);
    expect(upstreams.map(({ received }) => received)).toEqual([3, 2]);
  },
);

test("filters/README.md names every helper that programs may call", () => {
  const [, row] = /^\| Helpers \| (.*) \|$/m.exec(page)!;
  const named = [...row!.matchAll(/`(\w+)`/g)].map((match) => match[1]!);
  expect(named.toSorted()).toEqual([...helpers.values()].map((helper) => helper.name).toSorted());
});

test("filters/README.md says after how many instructions a run is aborted", () => {
  const [, figure] = /runs longer than .* \(([\d,]+)\) instructions/.exec(page)!;
  expect(Number(figure!.replaceAll(",", ""))).toBe(maxProvenSteps);
});

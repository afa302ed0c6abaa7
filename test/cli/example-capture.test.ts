import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { exampleCapture, exampleCaptureBytes } from "../../scripts/build-example-capture.ts";
import { temporaryFolder, weir } from "../support/processes.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const root = fileURLToPath(new URL("../../", import.meta.url));

/** A page's fenced block that begins with `start`. */
function block(page: string, start: string): string {
  const text = readFileSync(`${root}${page}`, "utf8");
  const found = [...text.matchAll(/^```[a-z]*\n(.*?)^```/gms)].find(([, block]) =>
    block!.startsWith(start),
  );
  if (found === undefined) throw new Error(`no block of ${page} begins with ${start}`);
  return found[1]!;
}

test("the example capture is what its script makes", () => {
  expect(readFileSync(exampleCapture).equals(exampleCaptureBytes())).toBe(true);
});

test("filter match finds in the example capture what examples/README.md says", async () => {
  const { code, stdout } = await weir(["filter", "match", "udp port 53", exampleCapture]);
  expect({ code, stdout: stdout.replace(root, "") }).toEqual({
    code: 0,
    stdout: block("examples/README.md", "examples/captures/dns.pcapng: "),
  });
});

test("replay makes of the example capture what examples/README.md says", async () => {
  // As if the config were saved beside the README, as the README says.
  const config = folder.write(
    "dns.yaml",
    block("README.md", "version: 1").replace("filters/", `${root}filters/`),
  );
  const [passed, dropped] = [`${folder.path}/passed.pcapng`, `${folder.path}/dropped.pcapng`];
  const args = ["replay", exampleCapture, "-c", config, "--listener", "dns"];
  const { code, stdout, stderr } = await weir([...args, "-w", passed, "--dropped", dropped]);
  const timeless = (text: string): string => text.replace(/replayed in \d+ ms/, "replayed in N ms");
  const shown = stdout.replace(root, "").replaceAll(`${folder.path}/`, "");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(timeless(shown)).toBe(
    timeless(block("examples/README.md", "examples/captures/dns.pcapng → ")),
  );
});

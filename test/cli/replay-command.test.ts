import { spawn } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { needing } from "../support/needing.ts";
import { command, weirCommand } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";
import { captureFile, config, folder, frame, packetsOf, replay, three } from "./replay-rig.ts";

for (const { args, code, message } of [
  {
    args: ["no.pcap", "--listener", "dns"],
    code: 1,
    message: /^weir replay: no\.pcap: no such file\n$/,
  },
  { args: [folder.path, "--listener", "dns"], code: 1, message: /: is a folder\n$/ },
  {
    args: [config, "--listener", "dns"],
    code: 1,
    message: /byte 0: this is neither pcap nor pcapng/,
  },
  { args: [three], code: 2, message: /has 17 listeners; name one with --listener: dns, limited/ },
  {
    args: [three, "--listener", "dnss"],
    code: 2,
    message: /no such listener; did you mean dns\?\n$/,
  },
  {
    args: [three, "--listener", "dns", "--direction", "up"],
    code: 2,
    message: /Allowed choices are ingress, egress/,
  },
  {
    args: [three, "--listener", "dns", "-w", three],
    code: 2,
    message: /-w .*is the capture that is read; name another file\n$/,
  },
  {
    args: [three, "--listener", "dns", "-w", "-", "--metrics", "-"],
    code: 2,
    message: /--metrics -: standard output is what -w writes already/,
  },
  {
    args: [three, "--listener", "dns", "-w", "/no/such/x.pcap"],
    code: 1,
    message: /x\.pcap: its folder does not exist\n$/,
  },
  {
    args: [three, "--listener", "dns", "--metrics", "/no/such/x"],
    code: 1,
    message: /x: its folder does not exist\n$/,
  },
])
  test(`replay ${args.slice(1).join(" ")} of ${args[0]!.replace(folder.path, "")} ends with exit code ${code}`, async () => {
    const before = readFileSync(three);
    const run = await inProcess(["replay", ...args, "-c", config]);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toMatch(/\n\s+at /);
    expect(readFileSync(three).equals(before)).toBe(true);
  });

test("the capture that is read is not overwritten under another name either", async () => {
  linkSync(three, `${folder.path}/alias.pcapng`);
  const run = await replay(three, "dns", "--dropped", `${folder.path}/alias.pcapng`);
  expect(run.code).toBe(2);
  expect(packetsOf(three).length).toBe(3);
});

for (const [name, bytes] of [
  ["text", Buffer.from("root:x:0:0:root:/root:/bin/bash\n")],
  ["nothing", Buffer.alloc(0)],
  ["half a header", new ClassicWriter(1).header.subarray(0, 20)],
  ["a header and half a packet", Buffer.concat([new ClassicWriter(1).header, Buffer.alloc(10)])],
  ["packets of USB", capturedUsb()],
] as const)
  test(`a capture that holds ${name} leaves the files of an earlier replay as they were`, async () => {
    const outputs = ["kept.pcapng", "kept.pcap", "kept.prom"].map((file) =>
      folder.write(file, "earlier"),
    );
    const [passed = "", dropped = "", metrics = ""] = outputs;
    const file = `${folder.path}/unreplayable`;
    writeFileSync(file, bytes);
    const to = ["-w", passed, "--dropped", dropped, "--metrics", metrics];
    const { code, stdout } = await replay(file, "open", ...to, "--json");
    expect({ code, written: JSON.parse(stdout).written }).toEqual({ code: 1, written: [] });
    for (const output of outputs) expect(readFileSync(output, "utf8")).toBe("earlier");
  });

/** A capture of link type 220, LINKTYPE_USB_LINUX_MMAPPED, which no frames are made of. */
function capturedUsb(): Buffer {
  const writer = new ClassicWriter(220);
  const data = Buffer.alloc(64);
  const record = writer.record({ seconds: 1, nanoseconds: 0, originalLength: 64, data });
  return Buffer.concat([writer.header, record]);
}

test("an output that cannot be opened leaves the other one as it was", async () => {
  const passed = folder.write("one-of-two.pcapng", "earlier");
  const { code, stderr } = await replay(three, "dns", "-w", passed, "--dropped", "/no/such/x.pcap");
  expect(code).toBe(1);
  expect(stderr).toMatch(/x\.pcap: its folder does not exist\n$/);
  expect(readFileSync(passed, "utf8")).toBe("earlier");
});

test("an old file is replaced whole, also by a capture without packets", async () => {
  const empty = `${folder.path}/empty.pcap`;
  writeFileSync(empty, new ClassicWriter(1).header);
  const passed = folder.write("replaced.pcap", "x".repeat(10_000));
  const { code } = await replay(empty, "open", "-w", passed);
  expect(code).toBe(0);
  expect(readFileSync(passed).length).toBe(new ClassicWriter(1).header.length);
});

test("a file that takes nothing is no file that was written, exit 1", async () => {
  const file = captureFile("to-full.pcapng", [{ data: frame("10.0.0.1", 53) }]);
  const { code, stdout, stderr } = await replay(file, "open", "-w", "/dev/full", "--json");
  expect({ code, written: JSON.parse(stdout).written }).toEqual({ code: 1, written: [] });
  expect(stderr).toMatch(/\/dev\/full: the disk is full/);
});

test("a broken config is reported as check does, exit 2", async () => {
  mkdirSync(`${folder.path}/bad`, { recursive: true });
  const bad = folder.write("bad/weir.yaml", "version: 1\nlistenerz: []\n");
  const { code, stderr } = await inProcess(["replay", three, "-c", bad]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/bad\/weir\.yaml:2:1: /);
});

test("replay --metrics writes the metrics as a scrape finds them", async () => {
  const { stdout, stderr } = await replay(three, "dns", "--metrics", "-");
  expect(stdout).toContain('blocked_packets_total{rule="7"} 1\n');
  expect(stdout).toContain(
    'weir_packets_total{listener="dns",direction="ingress",verdict="drop"} 2\n',
  );
  expect(stdout).toContain(
    'weir_drops_total{listener="dns",direction="ingress",reason="filter_drop"} 2\n',
  );
  // The summary makes room.
  expect(stdout).not.toMatch(/^verdict /m);
  expect(stderr).toMatch(/^verdict /m);
});

/** Weir with bytes on its standard input; both outputs as bytes and text. */
async function piped(args: readonly string[], input: readonly Uint8Array[]) {
  const child = spawn(process.execPath, [weirCommand, ...args], { stdio: "pipe" });
  const out: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  for (const chunk of input) if (!child.stdin.write(chunk)) await once(child.stdin, "drain");
  child.stdin.end();
  const [code] = await once(child, "close");
  return { code, stdout: Buffer.concat(out), stderr };
}

test("replay - reads a pipe, and -w - writes one: the summary goes beside it", async () => {
  const args = ["replay", "-", "-c", config, "--listener", "dns", "-w", "-"];
  const { code, stdout, stderr } = await piped(args, [readFileSync(three)]);
  expect(code).toBe(0);
  expect([...readCaptureBytes(stdout)].length).toBe(1);
  expect(stderr).toMatch(/^standard input → dns \(udp\), ingress: dns → blocklist\n3 packets, /);
});

test("what is piped in and on keeps its order, however much it is", async () => {
  const writer = new ClassicWriter(1);
  const data = Buffer.concat([frame("10.0.0.1", 53), Buffer.alloc(1000)]);
  const records = Array.from({ length: 20_000 }, (_, seconds) =>
    writer.record({ seconds, nanoseconds: 0, originalLength: data.length, data }),
  );
  const args = ["replay", "-", "-c", config, "--listener", "open", "-w", "-"];
  const { stdout } = await piped(args, [writer.header, ...records]);
  let next = 0;
  for (const { seconds } of readCaptureBytes(stdout)) expect(seconds).toBe(next++);
  expect(next).toBe(records.length);
});

test("SIGINT ends a replay with the summary so far, exit 1, and whole files", async () => {
  const passed = `${folder.path}/interrupted.pcapng`;
  const args = ["replay", "-", "-c", config, "--listener", "dns", "-w", passed, "--dropped", "-"];
  const child = spawn(process.execPath, [weirCommand, ...args], { stdio: "pipe" });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  // One that passes, and much that is dropped: the first bytes out tell that it works.
  const writer = new ClassicWriter(1);
  const record = (port: number, bytes: number): Uint8Array => {
    const data = Buffer.concat([frame("10.0.0.1", port), Buffer.alloc(bytes)]);
    return writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data });
  };
  child.stdin.write(writer.header);
  child.stdin.write(record(53, 0));
  for (let i = 0; i < 10; i++) child.stdin.write(record(80, 60_000));
  await once(child.stdout, "data");
  child.kill("SIGINT");
  const [code] = await once(child, "close");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^interrupted: this is what was replayed until then$/m);
  expect(stderr).toMatch(/^drop +dns +filter_drop +\d+ /m);
  expect(packetsOf(passed).length).toBe(1);
});

test("a reader that goes away ends the replay without a word, and leaves the other file whole", async () => {
  const writer = new ClassicWriter(1);
  const data = Buffer.concat([frame("10.0.0.1", 53), Buffer.alloc(1000)]);
  const drop = frame("10.0.0.1", 80);
  const records = Array.from({ length: 3000 }, () => [
    writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data }),
    writer.record({ seconds: 1, nanoseconds: 0, originalLength: drop.length, data: drop }),
  ]).flat();
  const file = `${folder.path}/long.pcap`;
  const dropped = `${folder.path}/long-dropped.pcapng`;
  writeFileSync(file, Buffer.concat([writer.header, ...records]));
  const args = ["replay", file, "-c", config, "--listener", "dns", "-w", "-", "--dropped", dropped];
  const child = spawn(process.execPath, [weirCommand, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  await once(child.stdout!, "data");
  child.stdout!.destroy();
  const [code] = await once(child, "close");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(packetsOf(dropped).length).toBeGreaterThan(0);
});

const erased = "\x1b[2K";

needing("script")(
  "on a terminal a replay shows how far it is, and takes that line away",
  async () => {
    const writer = new ClassicWriter(1);
    const data = frame("10.0.0.1", 53);
    const record = writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data });
    const file = `${folder.path}/progress.pcap`;
    writeFileSync(
      file,
      Buffer.concat([writer.header, ...Array.from({ length: 400_000 }, () => record)]),
    );
    const line = `'${process.execPath}' '${weirCommand}' replay '${file}' -c '${config}' --listener dns`;
    const { stdout } = await command("script", ["-qec", line, "/dev/null"]);
    const drawn = stdout.split("\r");
    expect(stdout).toMatch(/\[2K[\d,]+ packets, [\d.]+ MB of 24\.8 MB \(\d+%\), [\d,]+ packets\/s/);
    const last = drawn.findLast((part) => part.startsWith(erased)) ?? "";
    expect(last.slice(erased.length)).toMatch(/^\/.*→ dns/);
    const raw = await command("script", ["-qec", `${line} -w -`, "/dev/null"]);
    expect(raw.stdout).toMatch(/standard output is a terminal, and a capture is no text/);
  },
);

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import { corpus } from "../support/corpora.ts";
import { needing } from "../support/needing.ts";
import {
  command,
  freePort,
  scrape,
  series,
  startWeir,
  temporaryFolder,
  weir,
} from "../support/processes.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** UDP datagrams of 10.0.0.1 to 10.0.0.2, by destination port. */
function capture(name: string, ports: readonly number[]): string {
  const writer = new PcapngWriter([{ linkType: 1 }]);
  const records = ports.map((port) => {
    const frame = Buffer.from(
      "02005e00000102005e00000208004500001c00000000401100000a0000010a0000021234000000080000",
      "hex",
    );
    frame.writeUInt16BE(port, 36);
    return writer.record({ seconds: 1, nanoseconds: 0, originalLength: frame.length, data: frame });
  });
  writeFileSync(`${folder.path}/${name}`, Buffer.concat([writer.header, ...records]));
  return `${folder.path}/${name}`;
}

for (const { args, flag } of [
  { args: ["-d"], flag: "-d" },
  { args: ["-dd"], flag: "-dd" },
  { args: ["-ddd"], flag: "-ddd" },
  { args: [], flag: "-d" },
  { args: ["-O"], flag: "-dO" },
])
  needing("tcpdump")(
    `filter compile ${args.join(" ")} lists what tcpdump ${flag} lists`,
    async () => {
      const words = ["udp", "port", "53", "and", "not", "src", "net", "10.0.0.0/8"];
      const ours = await weir(["filter", "compile", ...args, ...words]);
      const theirs = await command("tcpdump", ["-y", "EN10MB", flag, ...words]);
      expect(ours).toMatchObject({ code: 0, stderr: "" });
      expect(ours.stdout).toBe(theirs.stdout);
    },
  );

test("filter compile --ebpf shows the translation", async () => {
  const { stdout } = await weir(["filter", "compile", "--ebpf", "ip"]);
  expect(stdout).toMatch(/^r0 = \*\(u16 \*\)skb\[12\]$/m);
  expect(stdout).toMatch(/^if w0 != 0x800 goto \+\d+$/m);
});

test("filter compile points at the column of an error, exit 1", async () => {
  expect(await weir(["filter", "compile", "udp port 53 and foo"])).toEqual({
    code: 1,
    signal: null,
    stdout: "",
    stderr: `weir filter compile: expression, column 17: "foo" is no port known by name; write its number
  udp port 53 and foo
                  ^
`,
  });
});

test("filter compile refuses a link type it does not know, by name, exit 2", async () => {
  const { code, stderr } = await weir(["filter", "compile", "--link-type", "PPP", "ip"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/PPP.*expected one of EN10MB, RAW, LINUX_SLL/);
});

test("filter match tells which packets of each file match", async () => {
  const one = capture("one.pcapng", [53, 80, 53]);
  const other = capture("other.pcapng", [80]);
  expect(await weir(["filter", "match", "udp port 53", one, other])).toMatchObject({
    code: 0,
    stdout: `${one}: 2 of 3 packets match: 0 2\n${other}: 0 of 1 packets match\n`,
  });
});

test("filter match - reads a capture from standard input, once", async () => {
  const file = capture("piped.pcapng", [53, 80, 53]);
  const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));
  const piped = ["-c", '"$0" "$1" filter match "udp port 53" - < "$2"', process.execPath];
  expect(await command("sh", [...piped, weirCommand, file])).toMatchObject({
    code: 0,
    stdout: "-: 2 of 3 packets match: 0 2\n",
    stderr: "",
  });
  const twice = await weir(["filter", "match", "udp", "-", "-"]);
  expect(twice).toMatchObject({ code: 2, stdout: "" });
  expect(twice.stderr).toContain("standard input can be read once");
});

test("filter match --exprs --json gives a line for each expression and file, errors among them", async () => {
  const file = capture("three.pcapng", [53, 80, 53]);
  const exprs = folder.write("exprs.txt", "udp port 53\nport nonsense\ndst port 80\n");
  const { code, stdout } = await weir([
    "filter",
    "match",
    "--exprs",
    exprs,
    file,
    "no.pcap",
    "--json",
  ]);
  expect(code).toBe(1);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const missing = { file: "no.pcap", error: "no.pcap: no such file" };
  expect(lines).toEqual([
    { expr: "udp port 53", file, match: [0, 2] },
    { expr: "port nonsense", file, error: expect.stringContaining("column 6") },
    { expr: "dst port 80", file, match: [1] },
    { expr: "udp port 53", ...missing },
    { expr: "port nonsense", ...missing },
    { expr: "dst port 80", ...missing },
  ]);
});

test("filter match says where a truncated capture ends, after what was whole, exit 1", async () => {
  const whole = readFileSync(capture("whole.pcapng", [53, 53]));
  const cut = `${folder.path}/cut.pcapng`;
  writeFileSync(cut, whole.subarray(0, -4));
  const { code, stdout, stderr } = await weir(["filter", "match", "udp", cut]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: `${cut}: 1 of 1 packets match: 0\n` });
  expect(stderr).toMatch(/cut\.pcapng, byte \d+: /);
});

const expected = corpus("pcapfilter/match.expected");
test.skipIf(expected === undefined)(
  `filter match gives libpcap's answers on a mix of captures${expected === undefined ? " [skipped: needs the pcapfilter corpus]" : ""}`,
  async () => {
    const mix = "pcap/mix.pcap";
    const { exprs } = JSON.parse(readFileSync(expected!, "utf8")) as {
      exprs: {
        expr: string;
        match: Record<string, number[]>;
        versions_differ?: Record<string, unknown>;
      }[];
    };
    const known = exprs.filter(({ match }) =>
      Object.keys(match).some((file) => file.endsWith("mix.pcap")),
    );
    expect(known.length).toBeGreaterThan(50);
    const list = folder.write("corpus.txt", known.map(({ expr }) => expr).join("\n"));
    const { stdout } = await weir(["filter", "match", "--exprs", list, corpus(mix)!, "--json"]);
    const answers = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const [i, { expr, match, versions_differ: differ = {} }] of known.entries()) {
      const [file, indices] = Object.entries(match).find(([name]) => name.endsWith("mix.pcap"))!;
      if (!Object.hasOwn(differ, file)) expect(answers[i]).toMatchObject({ expr, match: indices });
    }
  },
);

test("an expression is a filter of the proxy: what matches passes, or is dropped", async () => {
  const [port, other, metrics] = [await freePort(), await freePort(), await freePort()];
  const running = await startWeir(
    folder,
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { echo: true } }
filters:
  local: { expression: "udp and src host 127.0.0.1 and inbound" }
  long: { expression: "greater 100", onMatch: drop, onMiss: pass }
  none: { bytecode: "1\\n6 0 0 0\\n" }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [local, long] }
  - { name: b, protocol: udp, listen: "127.0.0.1:${other}", upstream: app, ingress: [none] }
`,
  );
  const client = createSocket("udp4").bind(0, "127.0.0.1");
  const stranger = createSocket("udp4").bind(0, "127.0.0.2");
  try {
    const answer = once(client, "message");
    await sent(stranger, "from elsewhere", port);
    await sent(client, "x".repeat(200), port);
    await sent(client, "anything", other);
    await sent(client, "short", port);
    expect(String((await answer)[0])).toBe("short");
    const counted = await scrape(metrics);
    const verdicts = (filter: string): (number | undefined)[] =>
      ["pass", "drop"].map((verdict) =>
        series(counted, "weir_filter_verdicts_total", { filter, verdict }),
      );
    expect(verdicts("local")).toEqual([2, 1]);
    expect(verdicts("long")).toEqual([1, 1]);
    expect(verdicts("none")).toEqual([0, 1]);
  } finally {
    client.close();
    stranger.close();
    await running.stop();
  }
});

/** Resolves when the kernel has taken the datagram: later ones are behind it. */
async function sent(socket: Socket, text: string, port: number): Promise<void> {
  await new Promise((resolve) => socket.send(text, port, "127.0.0.1", resolve));
}

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

/**
 * UDP datagrams of 10.0.0.1 to 10.0.0.2, by destination port, on interfaces of these link types in
 * turn. Frames are Ethernet's whatever the type.
 */
function capture(
  name: string,
  ports: readonly number[],
  linkTypes: readonly number[] = [1],
): string {
  const writer = new PcapngWriter(linkTypes.map((linkType) => ({ linkType })));
  const records = ports.map((port, i) => {
    const data = Buffer.from(
      "02005e00000102005e00000208004500001c00000000401100000a0000010a0000021234000000080000",
      "hex",
    );
    data.writeUInt16BE(port, 36);
    const interfaceId = i % linkTypes.length;
    return writer.record({
      seconds: 1,
      nanoseconds: 0,
      originalLength: data.length,
      data,
      interfaceId,
    });
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
  const json = await weir(["filter", "match", "--json", "udp", cut]);
  expect({ code: json.code, ...JSON.parse(json.stdout) }).toEqual({
    code: 1,
    expr: "udp",
    file: cut,
    match: [0],
    error: expect.stringMatching(/cut\.pcapng, byte \d+: /),
  });
});

test("filter match leaves out packets of link types it cannot ask, and counts them by name, exit 1", async () => {
  const mixed = capture("mixed.pcapng", [53, 53, 80, 53, 53], [1, 127]);
  const { code, stdout, stderr } = await weir(["filter", "match", "udp port 53", mixed]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: `${mixed}: 2 of 5 packets match: 0 4\n` });
  expect(stderr).toBe(
    `${mixed}: 2 packets of link type 127 (IEEE802_11_RADIO) left out: link type 127 (IEEE802_11_RADIO): expressions are not compiled for this link type; expected one of EN10MB, RAW, LINUX_SLL, LINUX_SLL2, NULL, LOOP\n`,
  );
  const json = await weir(["filter", "match", "--json", "ether src 2:0:5e:0:0:2", mixed]);
  expect(JSON.parse(json.stdout)).toMatchObject({
    match: [0, 2, 4],
    left_out: [{ link_type: 127, packets: 2, error: expect.stringContaining("not compiled") }],
  });
});

test("filter match refuses a capture whose only link type it does not know, by name", async () => {
  const { code, stdout, stderr } = await weir([
    "filter",
    "match",
    "udp",
    capture("ppp.pcapng", [53], [9]),
  ]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/ppp\.pcapng: link type 9 \(PPP\): expressions are not compiled/);
});

test("filter match refuses what is no expression of a capture without packets too", async () => {
  const { code, stdout, stderr } = await weir([
    "filter",
    "match",
    "udp prot 53",
    capture("empty.pcapng", []),
  ]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(
    /column 5: "prot" does not belong here; did you mean port\?.*\n {2}udp prot 53\n {6}\^/,
  );
});

test("filter match names the expression of each line where there are several", async () => {
  const file = capture("several.pcapng", [53, 80]);
  const exprs = folder.write("several.txt", "udp port 53\ndst port 80\n");
  expect(await weir(["filter", "match", "--exprs", exprs, file])).toMatchObject({
    code: 0,
    stdout: `${file}: udp port 53: 1 of 2 packets match: 0\n${file}: dst port 80: 1 of 2 packets match: 1\n`,
  });
});

for (const { title, args, message } of [
  {
    title: "an expression that the shell took apart",
    args: ["udp", "port", "53", "FILE"],
    message: /the expression is more than one of them; put it in quotes: "udp port 53"/,
  },
  { title: "no file at all", args: ["udp"], message: /no capture file; give an expression/ },
  {
    title: "an unquoted expression without a file",
    args: ["udp", "port", "53"],
    message: /put it in quotes: "udp port 53"/,
  },
  {
    title: "a netmask that is none",
    args: ["--netmask", "24", "udp", "FILE"],
    message: /--netmask 24: this is no netmask; expected four numbers with dots/,
  },
])
  test(`filter match tells ${title} from an answer, exit 2`, async () => {
    const file = capture("usage.pcapng", [53]);
    const words = args.map((word) => (word === "FILE" ? file : word));
    const { code, stdout, stderr } = await weir(["filter", "match", ...words]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(message);
  });

test("--netmask is what ip broadcast goes by", async () => {
  const file = capture("broadcast.pcapng", [53]);
  const match = (...more: string[]) => weir(["filter", "match", "ip broadcast", file, ...more]);
  expect(await match()).toMatchObject({ code: 1, stderr: expect.stringContaining("the netmask") });
  expect((await match("--netmask", "255.255.255.253")).stdout).toContain("1 of 1 packets match");
  expect((await match("--netmask", "255.255.255.0")).stdout).toContain("0 of 1 packets match");
  const { stdout } = await weir([
    "filter",
    "compile",
    "--netmask",
    "255.255.255.0",
    "ip broadcast",
  ]);
  expect(stdout).toContain("and      #0xff\n");
});

test("filter compile lists classic BPF or eBPF, not both, exit 2", async () => {
  const { code, stderr } = await weir(["filter", "compile", "--ebpf", "-ddd", "ip"]);
  expect(code).toBe(2);
  expect(stderr).toContain("-d lists classic BPF, --ebpf eBPF; give one of them");
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

import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { needing } from "../support/needing.ts";
import {
  command,
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const programs = (name: string): string =>
  fileURLToPath(new URL(`./programs/${name}`, import.meta.url));
/** As Debian names its folders of headers. */
const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): ReturnType<typeof temporaryFolder> {
  const made = temporaryFolder();
  cleanups.push(() => made.remove());
  return made;
}

function stopping<T extends Running>(running: T): T {
  cleanups.push(() => running.stop());
  return running;
}

/** The counting filter and the blocklist, as the default config has them. */
function filterConfig(blocked: string): string {
  return `
filters:
  count:
    object: ${filters}count-by-protocol.o
    program: xdp_count_by_protocol
    metrics:
      counters:
        - name: packets_by_protocol
          help: Packets by IP protocol
          labels:
            - { name: protocol, size: 4, decoders: [ { name: uint }, { name: static_map, static_map: { 6: tcp, 17: udp } } ] }
  blocklist:
    object: ${filters}blocklist.o
    program: xdp_blocklist
    maps:
      blocked: { entries: [ { key: "${blocked}", value: 7 } ] }
    metrics:
      counters:
        - name: blocked_packets_total
          help: Packets dropped, by rule
          labels: [ { name: rule, size: 4, decoders: [ { name: uint } ] } ]
`;
}

async function dnsmasq(): Promise<number> {
  const port = await freePort();
  const server = stopping(
    start("dnsmasq", [
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--no-resolv",
      "--no-hosts",
      "--listen-address=127.0.0.1",
      "--bind-interfaces",
      `--port=${port}`,
      "--address=/weir.test/192.0.2.53",
      "--txt-record=long.weir.test,".concat("x".repeat(200)),
      "--log-facility=-",
      "--user=root",
      "--pid-file=",
    ]),
  );
  await server.printed(/started, version/);
  return port;
}

needing("dnsmasq", "dig")("dig gets dnsmasq's answers through the UDP listener", async () => {
  const [upstream, port, metrics] = [await dnsmasq(), await freePort(), await freePort()];
  stopping(
    await startWeir(
      folder(),
      `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { dns: { addresses: ["127.0.0.1:${upstream}"] } }
${filterConfig("192.0.2.0/24")}
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:${port}", upstream: dns, ingress: [count, blocklist] }
`,
    ),
  );
  const answer = await command("dig", ["@127.0.0.1", "-p", `${port}`, "+short", "weir.test", "A"]);
  expect(answer.stdout).toBe("192.0.2.53\n");
  const text = await command("dig", [
    "@127.0.0.1",
    "-p",
    `${port}`,
    "+short",
    "long.weir.test",
    "TXT",
  ]);
  expect(text.stdout).toContain("x".repeat(200));
  const counted = await scrape(metrics);
  expect(series(counted, "packets_by_protocol", { protocol: "udp" })).toBe(2);
  const passed = { listener: "dns", verdict: "pass" };
  expect(series(counted, "weir_packets_total", { ...passed, direction: "ingress" })).toBe(2);
  expect(series(counted, "weir_packets_total", { ...passed, direction: "egress" })).toBe(2);
});

needing("nginx", "curl")(
  "curl gets 100 MB from nginx through the TCP listener, byte for byte",
  async () => {
    const place = folder();
    // nginx's workers give up root, and must read the file all the same.
    chmodSync(place.path, 0o755);
    mkdirSync(`${place.path}/www`);
    const content = randomBytes(100_000_000);
    writeFileSync(`${place.path}/www/big`, content);
    const [upstream, port, metrics] = [await freePort(), await freePort(), await freePort()];
    place.write(
      "nginx.conf",
      `daemon off; pid ${place.path}/nginx.pid; error_log stderr notice;
events {}
http { access_log off; client_body_temp_path ${place.path}/body; proxy_temp_path ${place.path}/proxy;
  fastcgi_temp_path ${place.path}/fastcgi; uwsgi_temp_path ${place.path}/uwsgi; scgi_temp_path ${place.path}/scgi;
  server { listen 127.0.0.1:${upstream}; root ${place.path}/www; } }`,
    );
    const nginx = stopping(start("nginx", ["-c", `${place.path}/nginx.conf`, "-p", place.path]));
    await nginx.printed(/start worker process /);
    stopping(
      await startWeir(
        place,
        `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { web: { addresses: ["127.0.0.1:${upstream}"] } }
${filterConfig("192.0.2.0/24")}
listeners:
  - { name: web, protocol: tcp, listen: "127.0.0.1:${port}", upstream: web, ingress: [count, blocklist], egress: [count] }
`,
      ),
    );
    const file = `${place.path}/got`;
    const curl = await command("curl", [
      "-sS",
      "--fail",
      "-o",
      file,
      `http://127.0.0.1:${port}/big`,
    ]);
    expect(curl).toMatchObject({ code: 0, stderr: "" });
    expect(sha256(readFileSync(file))).toBe(sha256(content));
    const counted = await scrape(metrics);
    const segments = Math.ceil(content.length / 1460);
    expect(series(counted, "packets_by_protocol", { protocol: "tcp" })).toBeGreaterThan(segments);
    expect(
      series(counted, "weir_bytes_total", {
        listener: "web",
        direction: "egress",
        verdict: "pass",
      }),
    ).toBeGreaterThan(content.length);
  },
);

needing("prometheus", "clang")(
  "Prometheus scrapes counters, a histogram and a gauge, and sees a blocklisted source dropped",
  async () => {
    const place = folder();
    const built = await command("clang", [
      ...["-O2", "-g", "-target", "bpf", `-I/usr/include/${machine}-linux-gnu`],
      ...["-c", programs("sizes.c"), "-o", `${place.path}/sizes.o`],
    ]);
    expect(built).toMatchObject({ code: 0, stderr: "" });
    const [port, metrics, web] = [await freePort(), await freePort(), await freePort()];
    stopping(
      await startWeir(
        place,
        `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { echo: { echo: true } }
${filterConfig("127.0.0.66/32")}
  sizes:
    object: sizes.o
    metrics:
      histograms:
        - name: frame_bytes
          help: Frames by size
          bucket_type: exp2
          bucket_min: 0
          bucket_max: 16
          labels: [ { name: bucket, size: 4, decoders: [ { name: uint } ] } ]
      gauges:
        - { name: last_frame_bytes, help: Size of the last frame, labels: [] }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${port}", upstream: echo, ingress: [sizes, count, blocklist] }
`,
      ),
    );
    const friend = createSocket("udp4").bind(0, "127.0.0.1");
    const blocked = createSocket("udp4").bind(0, "127.0.0.66");
    cleanups.push(
      () => friend.close(),
      () => blocked.close(),
    );
    await Promise.all([once(friend, "listening"), once(blocked, "listening")]);
    const refused: string[] = [];
    blocked.on("message", (message) => refused.push(message.toString()));
    for (let i = 0; i < 3; i++) blocked.send("let me in", port, "127.0.0.1");
    for (let i = 0; i < 5; i++) {
      friend.send(`hello ${i}`, port, "127.0.0.1");
      const [message] = (await once(friend, "message")) as [Buffer];
      expect(message.toString()).toBe(`hello ${i}`);
    }

    place.write(
      "prometheus.yml",
      `scrape_configs:
  - { job_name: weir, scrape_interval: 1s, static_configs: [ { targets: ["127.0.0.1:${metrics}"] } ] }
`,
    );
    stopping(
      start("prometheus", [
        `--config.file=${place.path}/prometheus.yml`,
        `--storage.tsdb.path=${place.path}/tsdb`,
        `--web.listen-address=127.0.0.1:${web}`,
      ]),
    );
    const query = async (expression: string): Promise<number | undefined> => {
      const url = `http://127.0.0.1:${web}/api/v1/query?query=${encodeURIComponent(expression)}`;
      const answer = (await (await fetch(url)).json()) as {
        data: { result: { value: [number, string] }[] };
      };
      const value = answer.data.result[0]?.value[1];
      return value === undefined ? undefined : Number(value);
    };
    const scraped = (expression: string): Promise<number> =>
      eventually(() => query(expression), expression);
    expect(await scraped('up{job="weir"} == 1')).toBe(1);
    expect(await scraped('packets_by_protocol{protocol="udp"}')).toBe(8);
    expect(await scraped('blocked_packets_total{rule="7"}')).toBe(3);
    expect(
      await scraped('weir_drops_total{listener="echo",direction="ingress",reason="filter_drop"}'),
    ).toBe(3);
    expect(
      await scraped('weir_packets_total{listener="echo",direction="ingress",verdict="pass"}'),
    ).toBe(5);
    expect(await scraped('weir_filter_verdicts_total{filter="blocklist",verdict="drop"}')).toBe(3);
    // 5 frames of 42 bytes of headers and 7 of payload, 3 of 42 and 9.
    expect(await scraped('frame_bytes_bucket{le="32.0"}')).toBe(0);
    expect(await scraped('frame_bytes_bucket{le="64.0"}')).toBe(8);
    expect(await scraped("frame_bytes_sum")).toBe(5 * 49 + 3 * 51);
    expect(await scraped("frame_bytes_count")).toBe(8);
    expect(await scraped("last_frame_bytes")).toBe(49);
    expect(await scraped('weir_map_entries{filter="blocklist",map="blocked"}')).toBe(1);
    expect(await scraped('weir_upstream_up{upstream="echo"}')).toBe(1);
    expect(refused).toEqual([]);
  },
);

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

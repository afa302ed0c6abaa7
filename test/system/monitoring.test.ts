import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test as plainTest } from "vitest";
import { needing } from "../support/needing.ts";
import {
  command,
  defaultConfig,
  eventually,
  freePort,
  type Running,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

const shipped = fileURLToPath(new URL("../../config/", import.meta.url));
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Target {
  readonly expr: string;
}
interface Panel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number };
  readonly targets?: readonly Target[];
}
interface Dashboard {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly Target[] };
  readonly templating: { readonly list: readonly { type: string; definition?: string }[] };
}

const dashboard = JSON.parse(readFileSync(`${shipped}grafana/weir.json`, "utf8")) as Dashboard;

needing("promtool")(
  "promtool accepts the rules and the Prometheus config, and the rules' own tests pass",
  async () => {
    for (const args of [
      ["check", "rules", `${shipped}prometheus/rules.yaml`],
      ["check", "config", `${shipped}prometheus/prometheus.yaml`],
      ["test", "rules", `${shipped}prometheus/rules.test.yaml`],
    ])
      expect(await command("promtool", args), args.join(" ")).toMatchObject({ code: 0 });
  },
);

plainTest("every alert has a test of its own", () => {
  const alerts = [
    ...readFileSync(`${shipped}prometheus/rules.yaml`, "utf8").matchAll(/- alert: (\w+)/g),
  ].map((match) => match[1]!);
  const tests = readFileSync(`${shipped}prometheus/rules.test.yaml`, "utf8");
  expect(alerts.length).toBeGreaterThan(5);
  for (const alert of alerts) expect(tests).toContain(`alertname: ${alert}`);
});

plainTest("the dashboard's panels lie side by side on its 24 columns", () => {
  for (const { title, gridPos } of dashboard.panels)
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
  expect(dashboard.panels.filter(({ type }) => type !== "row").length).toBeGreaterThan(10);
});

needing("prometheus")(
  "every query of the dashboard and every metric of the rules gives an answer on a live Prometheus",
  async () => {
    const folder = temporaryFolder();
    cleanups.push(() => folder.remove());
    const { text, port, metrics } = await defaultConfig();
    const tunnel = await freePort();
    // And what the default config has not: a shadow that would drop what its chain passes, and a tunnel.
    const more = text
      .replace("\nfilters:\n", '\nfilters:\n  tried: { expression: "tcp", shadow: true }\n')
      .replace("ingress: [count, blocklist]", "ingress: [count, tried, blocklist]")
      .concat(
        `  - { name: mirrored, protocol: vxlan, mode: mirror, listen: "127.0.0.1:${tunnel}", ingress: [count] }\n`,
      );
    stopping(await startWeir(folder, more));
    const web = await freePort();
    folder.write(
      "prometheus.yml",
      `scrape_configs:
  - { job_name: weir, scrape_interval: 250ms, scrape_timeout: 250ms, static_configs: [ { targets: ["127.0.0.1:${metrics}"] } ] }
`,
    );
    stopping(
      start("prometheus", [
        `--config.file=${folder.path}/prometheus.yml`,
        `--storage.tsdb.path=${folder.path}/tsdb`,
        `--web.listen-address=127.0.0.1:${web}`,
      ]),
    );
    const traffic = await trafficTo(port, tunnel);
    /** How many series an expression gives; an error where Prometheus refuses it. */
    const seriesOf = async (expression: string): Promise<number> => {
      const url = `http://127.0.0.1:${web}/api/v1/query?query=${encodeURIComponent(expression)}`;
      const answer = (await (await fetch(url)).json()) as {
        status: string;
        error?: string;
        data?: { result: readonly unknown[] };
      };
      if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
      return answer.data!.result.length;
    };
    const expressions = [
      ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...dashboard.templating.list
        .filter(({ type }) => type === "query")
        .map(({ definition }) =>
          definition!.replace(/^label_values\((.*), (\w+)\)$/, "count by ($2) ($1)"),
        ),
      ...ruleMetrics(),
    ];
    for (const expression of expressions.map(withVariables))
      await eventually(async () => {
        traffic();
        return (await seriesOf(expression)) > 0 ? true : undefined;
      }, expression);
    // Nothing was reloaded: valid, and empty.
    for (const { expr } of dashboard.annotations.list)
      expect(await seriesOf(withVariables(expr))).toBe(0);
  },
  60_000,
);

function stopping<T extends Running>(running: T): T {
  cleanups.push(() => running.stop());
  return running;
}

/** As Grafana fills in variables: all jobs, instances and listeners. */
function withVariables(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "10s")
    .replaceAll(/\$(job|instance|listener)/g, ".*");
}

/** Metrics that the rules read. Those of labels that only trouble brings are there from the start. */
function ruleMetrics(): string[] {
  const rules = readFileSync(`${shipped}prometheus/rules.yaml`, "utf8");
  return [...new Set([...rules.matchAll(/\bweir_[a-z_]+/g)].map(([name]) => name))].filter(
    (name) => !rules.includes(`:${name}`),
  );
}

/**
 * Sends some packets at each call: to be passed over UDP and TCP, and to be dropped; and no frame to
 * the tunnel.
 */
async function trafficTo(port: number, tunnel: number): Promise<() => void> {
  const friend = createSocket("udp4").bind(0, "127.0.0.1");
  const blocked = createSocket("udp4").bind(0, "127.0.0.66");
  const stream = connect(port, "127.0.0.1").on("error", () => {});
  cleanups.push(
    () => friend.close(),
    () => blocked.close(),
    () => stream.destroy(),
  );
  await Promise.all([
    once(friend, "listening"),
    once(blocked, "listening"),
    once(stream, "connect"),
  ]);
  stream.resume();
  return () => {
    for (let i = 0; i < 50; i++) friend.send("hello", port, "127.0.0.1");
    blocked.send("let me in", port, "127.0.0.1");
    friend.send("junk", tunnel, "127.0.0.1");
    stream.write("hello");
  };
}

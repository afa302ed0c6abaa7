import { readdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { expect, test } from "vitest";
import { schemaFiles } from "../../scripts/build-schema.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import { mapMetrics } from "../../src/metrics/map-metric.ts";

const shipped = [
  "config/weir.yaml",
  "config/container.yaml",
  ...readdirSync("config/examples")
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => `config/examples/${name}`),
];

test("the default, the image's config and examples are there", () => {
  expect(shipped).toEqual(
    expect.arrayContaining(["config/examples/dns.yaml", "config/examples/web.yaml"]),
  );
});

for (const file of shipped) {
  test(`${file} loads, and its plan can be prepared`, async () => {
    const config = loadConfig(file);
    expect(config.ok ? [] : config.error.map(String)).toEqual([]);
    if (!config.ok) return;
    const prepared = await preparePlan(config.value, { echo: { host: "127.0.0.1", port: 7 } });
    expect(prepared.ok ? [] : prepared.error.map(String)).toEqual([]);
    if (!prepared.ok) return;
    for (const { metrics, maps } of prepared.value.filters)
      expect(mapMetrics(metrics, maps, () => file)).toMatchObject({ ok: true });
  });

  test(`${file} tells editors where its schema is`, () => {
    const [first] = readFileSync(file, "utf8").split("\n");
    const path = file.includes("examples") ? "../weir.schema.json" : "./weir.schema.json";
    expect(first).toBe(`# yaml-language-server: $schema=${path}`);
  });
}

test("the default config stays on loopback and needs no privileges", () => {
  const config = loadConfig("config/weir.yaml");
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  const { listeners, metricsListen, upstreams } = config.value;
  const addresses = [...listeners.map(({ listen }) => listen), metricsListen!];
  for (const { host, port } of addresses) {
    expect(host).toBe("127.0.0.1");
    expect(port).toBeGreaterThan(1024);
  }
  expect(new Set(listeners.map(({ protocol }) => protocol))).toEqual(new Set(["udp", "tcp"]));
  expect(upstreams.map((upstream) => upstream.addresses)).toEqual(["echo"]);
});

test("the image's config differs from the default in where it listens and in what is blocked", () => {
  const config = loadConfig("config/container.yaml");
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  for (const { listen } of config.value.listeners) expect(listen.host).toBe("0.0.0.0");
  expect(config.value.metricsListen).toEqual({ host: "0.0.0.0", port: 9464 });
  expect(isIP(config.value.listeners[0]!.listen.host)).toBe(4);
});

for (const [name, text] of Object.entries(schemaFiles()))
  test(`config/${name} is what the schema gives (npm run build:schema writes it)`, () => {
    expect(readFileSync(`config/${name}`, "utf8")).toBe(text);
  });

test("every key of the JSON Schema has a description, and every optional one is told of", () => {
  const schema = JSON.parse(schemaFiles()["weir.schema.json"]!) as Node;
  expect(schema.$schema).toBe("https://json-schema.org/draft/2020-12/schema");
  const silent: string[] = [];
  let keys = 0;
  const visit = (node: Node, path: string): void => {
    for (const [key, value] of Object.entries(node.properties ?? {})) {
      keys++;
      // A decoder's name says what it is; the option it selects is described.
      const selects = value.const !== undefined && node.description !== undefined;
      if (value.description === undefined && !selects) silent.push(`${path}.${key}`);
      visit(value, `${path}.${key}`);
    }
    for (const inner of [node.items, node.additionalProperties, ...(node.oneOf ?? [])])
      if (inner) visit(inner, path);
    if (node.properties !== undefined) expect(node.additionalProperties, path).toBe(false);
  };
  visit(schema, "");
  expect(silent).toEqual([]);
  expect(keys).toBeGreaterThan(60);
});

interface Node {
  readonly $schema?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly additionalProperties?: Node | false;
  readonly oneOf?: readonly Node[];
}

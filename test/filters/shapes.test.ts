import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";

/** What configs and dashboards name in the committed objects: a change here breaks theirs. */
for (const { name, programs, maps, globals } of [
  {
    name: "rate-limit",
    programs: ["xdp_rate_limit"],
    maps: [
      "sources: lru_hash 16B → 16B × 65536",
      "rate_limit_packets_total: percpu_array 4B → 8B × 3",
      "limited_sources: lru_percpu_hash 16B → 8B × 1024",
    ],
    globals: [
      "packets_per_second",
      "packet_burst",
      "bytes_per_second",
      "byte_burst",
      "ipv4_prefix_length",
      "ipv6_prefix_length",
      "default_action",
    ],
  },
  {
    name: "port-firewall",
    programs: ["xdp_port_firewall"],
    maps: ["matched: percpu_hash 4B → 16B × 65"],
    globals: ["rules", "default_action"],
  },
  {
    name: "dns-guard",
    programs: ["xdp_dns_guard", "xdp_dns_learn"],
    maps: [
      "asked_queries: lru_hash 24B → 16B × 16384",
      "dns_guard_messages_total: percpu_array 4B → 8B × 5",
    ],
    globals: ["dns_port", "response_timeout_ms", "drop_any", "default_action"],
  },
  {
    name: "syn-guard",
    programs: ["xdp_syn_guard"],
    maps: [
      "sources: lru_hash 16B → 8B × 65536",
      "syn_guard_connections_total: percpu_array 4B → 8B × 2",
    ],
    globals: [
      "connections_per_second",
      "burst",
      "ipv4_prefix_length",
      "ipv6_prefix_length",
      "default_action",
    ],
  },
  {
    name: "size-limit",
    programs: ["xdp_size_limit"],
    maps: ["limits: hash 4B → 8B × 256", "size_limited_packets_total: percpu_hash 8B → 8B × 768"],
    globals: ["default_action"],
  },
])
  test(`${name}.o has the programs, maps and globals that its README names`, () => {
    const file = new URL(`../../filters/${name}.o`, import.meta.url);
    const object = loadObject(readFileSync(file), `${name}.o`);
    if (!object.ok) throw object.error;
    const { value } = object;
    expect(value.programs.map((program) => program.name)).toEqual(programs);
    expect(
      value.maps
        .filter((map) => map.dataSection === undefined)
        .map(
          (map) =>
            `${map.name}: ${map.type} ${map.keySize}B → ${map.valueSize}B × ${map.maxEntries}`,
        ),
    ).toEqual(maps);
    expect(value.variables.map((variable) => variable.name).sort()).toEqual([...globals].sort());
    const readme = readFileSync(new URL("../../filters/README.md", import.meta.url), "utf8");
    for (const named of [...programs, ...globals, ...maps.map((map) => map.split(":")[0]!)])
      expect(readme).toContain(`\`${named}\``);
  });

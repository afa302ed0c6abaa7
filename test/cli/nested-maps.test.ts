import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { type AdminRig, startAdminRig } from "../admin/rig.ts";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { weir } from "../support/processes.ts";

/** Maps of maps: what a running proxy's hold, and traces on a copy of them. */
const test = needing("clang");
const frame = "00".repeat(60);
let rig: Promise<{ rig: AdminRig; object: string }> | undefined;
afterAll(async () => (await rig)?.rig.stop());

const own = `    maps:
      strict: { entries: [{ key: 7, value: 1 }] }
      tenants: { entries: [{ key: 60, value: strict }] }
`;

function up(): Promise<{ rig: AdminRig; object: string }> {
  rig ??= (async () => {
    const object = build(fileURLToPath(new URL("./nested-maps.c", import.meta.url)));
    const config = `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
  nested:
    object: ${object}
${own}  other: { object: ${object} }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [nested, other] }
`;
    return { rig: await startAdminRig({ config }), object };
  })();
  return rig;
}

/** What the command prints, as it succeeds. */
async function printed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await weir(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

async function explained(...more: string[]): Promise<string> {
  const where = more.length > 0 ? more : ["--admin", `unix:${(await up()).rig.socket}`];
  return printed("explain", frame, "--filter", "nested", ...where);
}

test("explain copies maps that maps hold, wherever the proxy has put them", async () => {
  const { client } = (await up()).rig;
  const update = async (map: string, key: number, value: unknown): Promise<void> => {
    const path = `/v1/maps/${encodeURIComponent(map)}/update`;
    const done = await client.send("POST", path, { key, value });
    expect(done).toMatchObject({ ok: true });
  };
  const first = await explained();
  expect(first).toContain("bpf_map_lookup_elem(tenants, key 60): found map strict");
  expect(first).toContain("bpf_map_lookup_elem(strict, key 7): found 1");
  expect(first).toMatch(/verdict: drop/);

  await update("nested/tenants", 60, "loose");
  expect(await explained()).toMatch(/\(loose, key 7\): no entry\n[\s\S]*verdict: pass/);
  // Another filter's, and not its own of that name.
  await update("other/strict", 7, 1);
  await update("nested/tenants", 60, "other/strict");
  await update("nested/strict", 7, 5);
  expect(await explained()).toMatch(/\(strict, key 7\): found 1\n[\s\S]*verdict: drop/);
  // What the object itself puts there may be gone by now.
  for (const [map, key] of [
    ["nested/tenants", 60],
    ["nested/defaults", 1],
  ] as const) {
    const path = `/v1/maps/${encodeURIComponent(map)}/delete`;
    expect(await client.send("POST", path, { key })).toMatchObject({ ok: true });
  }
  expect(await explained()).toMatch(/\(defaults, key 1\): no entry\n[\s\S]*verdict: .*aborted/);
});

test("a map of maps is read and written by the names of maps, and takes only what is like its own", async () => {
  const { client } = (await up()).rig;
  const ask = async (action: string, body: object): Promise<unknown> => {
    const reply = await client.send("POST", `/v1/maps/other%2Ftenants/${action}`, body);
    return reply.ok ? reply.value : reply.error.message;
  };
  await ask("update", { key: 1, value: "loose" });
  expect(await ask("lookup", { key: 1 })).toEqual({ key: 1, value: "loose", inner_map: "loose" });
  await ask("update", { key: 1, value: "nested/loose" });
  expect(await ask("lookup", { key: 1 })).toMatchObject({ value: "nested/loose" });
  const strict = await client.get("/v1/maps/other%2Fstrict");
  await ask("update", { key: 1, value: (strict as { value: { id: number } }).value.id });
  expect(await ask("lookup", { key: 1 })).toMatchObject({ value: "strict" });
  for (const [value, says] of [
    ["none", /map none: there is no such map/],
    ["unlike", /map tenants, value: map unlike is not like those that it holds/],
    ["tenants", /is not like those/],
    [{ a: 1 }, /the value of a map of maps is a map; give its name or number/],
  ] as const)
    expect(await ask("update", { key: 1, value })).toMatch(says);
  expect(await ask("lookup", { key: 1 })).toMatchObject({ value: "strict" });
});

test("explain -c and prog trace --map put maps into maps as the config or the line says", async () => {
  const { rig: running, object } = await up();
  const fromConfig = await explained("-c", `${running.folder}/weir.yaml`);
  expect(fromConfig).toMatch(/\(tenants, key 60\): found map strict\n[\s\S]*verdict: drop/);
  const trace = ["prog", "trace", object, "--data", frame, "--map"];
  const traced = await printed(...trace, "tenants=3c000000:strict", "--map", "strict=7:1");
  expect(traced).toMatch(/\(strict, key 7\): found 1\n[\s\S]*verdict: drop/);
  expect(await printed(...trace, "strict=07000000:01000000")).toMatch(
    /\(defaults, key 1\): found map loose\n[\s\S]*verdict: pass/,
  );
  for (const [map, says] of [
    ["tenants=3c000000:none", /map "tenants" holds maps, and there is none of the name "none"/],
    ["tenants=3c000000:unlike", /map unlike \(.*\) is not what map tenants holds/],
  ] as const) {
    const refused = await weir([...trace, map]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(says);
  }
});

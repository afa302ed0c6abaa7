import { afterAll, describe, expect, test } from "vitest";
import { type AdminRig, startAdminRig } from "../admin/rig.ts";
import { temporaryFolder, weir } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

/** What commands say of options and names that are wrong, before a proxy with no shadow and no event. */
const folder = temporaryFolder();
let rig: Promise<AdminRig> | undefined;
afterAll(async () => {
  await (await rig)?.stop();
  folder.remove();
});

async function asked(words: string) {
  rig ??= startAdminRig();
  return inProcess([...words.split(" "), "--admin", `unix:${(await rig).socket}`]);
}

describe("is wrong usage, and says what would be right:", () => {
  for (const { words, told } of [
    {
      words: "capture --count 0",
      told: "weir capture: --count 0: expected a whole number from 1 ",
    },
    {
      words: "capture --rate fast",
      told: "weir capture: --rate fast: expected a whole number from 1 to 1000000",
    },
    {
      words: "capture --snap-length 1",
      told: "weir capture: --snap-length 1: expected a whole number from 14 to 65600",
    },
    { words: "log-level loud", told: "Allowed choices are trace, debug, info, warn" },
    {
      words: "explain 00",
      told: "weir explain: --listener: not given, and there are several; name one with --listener: udp, tcp, or",
    },
  ])
    test(words, async () => {
      expect(await asked(words)).toEqual({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(told),
      });
    });

  test("prog run --insns 95", async () => {
    expect(await inProcess(["prog", "run", "--insns", "95"])).toMatchObject({
      code: 2,
      stderr:
        "weir prog run: --insns and --asm need --type: one of xdp, tc, tcx, action, socket, cgroup_skb, raw\n",
    });
  });
});

describe("fails at once, where it would wait for ever:", () => {
  for (const { words, stderr } of [
    {
      words: "capture --shadow",
      stderr:
        "weir capture: filters: none is a shadow; give one shadow: true in the config, or capture with filter\n",
    },
    {
      words: "events",
      stderr:
        "weir events: filters: none has a ringbuf or a perf_event_array, so no event can come; see weir map list\n",
    },
    {
      words: "map event_pipe blocked",
      stderr:
        "weir map event_pipe: map blocked: a map of type lpm_trie holds no events; name a ringbuf or a perf_event_array\n",
    },
  ])
    test(words, async () => {
      expect(await asked(words)).toEqual({ code: 1, stdout: "", stderr });
    });
});

test("map lookup without a key says that one is missing", async () => {
  expect(await asked("map lookup blocked")).toMatchObject({
    code: 1,
    stderr: "weir map lookup: map blocked, key: none is given; write key and the key\n",
  });
});

test("a command that fails with --json says why as an object too", async () => {
  const { code, stdout, stderr } = await asked("map dump none --json");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^weir map dump: map none: there is no such map; /);
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: "MAP_UNKNOWN",
      where: "map none",
      what: "there is no such map",
      fix: expect.stringContaining("blocked"),
    },
  });
});

test("check -c - reads a config from standard input, with paths from the working folder", async () => {
  const text = `version: 1
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters: { count: { object: filters/count-by-protocol.o } }
listeners: [ { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [count] } ]
`;
  const whole = await weir(["check", "-c", "-"], text);
  expect(whole).toMatchObject({ code: 0, stderr: "" });
  expect(whole.stdout).toContain("count");
  const broken = await weir(["check", "-c", "-"], text.replace("count-by", "cuont-by"));
  expect(broken.code).not.toBe(0);
  expect(broken.stderr).toMatch(/^standard input:3:\d+: .*filters\/cuont-by-protocol\.o/);
});

test("check --json gives all that is wrong with a config as an object, exit 2", async () => {
  const file = folder.write("weir.yaml", "version: 1\nlisteners: []\nworker: 2\nmemory: 1\n");
  const { code, stdout, stderr } = await inProcess(["check", "-c", file, "--json"]);
  expect(code).toBe(2);
  const { errors } = JSON.parse(stdout);
  expect(errors.length).toBeGreaterThan(1);
  expect(stderr.trimEnd().split("\n").slice(0, -1)).toEqual(
    errors.map(
      ({ where, what, fix }: Record<string, string>) => `${where}: ${what}${fix ? `; ${fix}` : ""}`,
    ),
  );
});

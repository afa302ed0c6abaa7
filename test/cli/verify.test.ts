import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder, weir, weirCommand } from "../support/processes.ts";

const filter = (name: string): string =>
  fileURLToPath(new URL(`../../filters/${name}`, import.meta.url));
const clang = needing("clang");
const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Two programs, the second of which reads a byte that may not be there. */
const source = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int good(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int bad(struct xdp_md *ctx) {
  return *((volatile char *)(long)ctx->data + 50) == 'x' ? XDP_DROP : XDP_PASS;
}
`;
const object = (): string => build(folder.write("peek.c", source), "-mcpu=v3");

test("verify has a line for each program of several objects, exit 0", async () => {
  const objects = [filter("blocklist.o"), filter("dns-guard.o")];
  const { code, stdout, stderr } = await weir(["verify", ...objects]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const measured =
    /^(.*): program (\w+) is accepted: \d+ instructions, \d+ visited, \d+ bytes of stack.*, [\d.]+ ms$/;
  const lines = stdout.trimEnd().split("\n");
  expect(lines.map((line) => measured.exec(line)?.slice(1, 3))).toEqual([
    [objects[0], "xdp_blocklist"],
    [objects[1], "xdp_dns_guard"],
    [objects[1], "xdp_dns_learn"],
  ]);
});

clang("verify tells a refusal whole, goes on with other programs, exit 1", async () => {
  const file = object();
  const { code, stdout } = await weir(["verify", file, filter("blocklist.o")]);
  expect(code).toBe(1);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/: program good is accepted/);
  expect(lines.slice(1, 7)).toEqual([
    `${file}: program bad, section "xdp" is refused (PACKET_BOUNDS)`,
    expect.stringMatching(/^ {2}\S*peek\.c:5: return \*\(\(volatile char \*\)/),
    "  instruction 1: r1 = *(u8 *)(r1 + 50)",
    "    r1: packet data, not compared with data_end yet",
    "  Packet byte 50 is accessed, and none is known to be there.",
    "  To mend it: compare r1 + 51 with data_end before this, and leave where it is greater.",
  ]);
  expect(lines[7]).toMatch(/: program xdp_blocklist is accepted/);
});

clang(
  "check and verify tell of an object's program what it asks of the kernel, not of others",
  async () => {
    const file = build("parted.c");
    const config = (program: string, maps: string): string =>
      folder.write(
        `${program}.yaml`,
        `version: 1
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters: { parted: { object: ${file}, program: ${program}, maps: { ${maps} } } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:1", upstream: app, ingress: [parted] }
`,
      );
    const check = (program: string, maps = "") => weir(["check", "-c", config(program, maps)]);
    expect(await check("plain", "counters: { entries: [{ key: 1, value: 1 }] }")).toMatchObject({
      code: 0,
      stderr: "",
    });
    const cause = "its type, sockmap, holds sockets of the kernel: not available in user space";
    const refused = await check("in_sockmap", "peers: { entries: [] }");
    expect(refused.code).toBe(1);
    const where = `: filters.parted.maps.peers: map "peers" cannot be: ${cause}`;
    expect(refused.stderr).toContain(where);
    expect(refused.stderr).toContain(
      `: filters.parted.object: ${file}, program in_sockmap, section "xdp", instruc`,
    );
    expect(refused.stderr).toContain(`uses map "peers", which cannot be: ${cause}`);
    const { code, stdout } = await weir(["verify", file]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/program plain is accepted.*\n.*program guarded is accepted/);
    expect(stdout).toMatch(/program in_sockmap, section "xdp" is refused \(MAP_TYPE_UNSUPPORTED\)/);
  },
);

clang("verify --program looks at one program, --json gives the verdict in parts", async () => {
  const file = object();
  const json = async (program: string) => {
    const { code, stdout } = await weir(["verify", file, "--program", program, "--json"]);
    return {
      code,
      lines: stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    };
  };
  expect(await json("good")).toEqual({
    code: 0,
    lines: [
      {
        object: file,
        program: "good",
        type: "xdp",
        accepted: true,
        instructions: 2,
        visited: 2,
        states: 0,
        stack: [],
        time_ms: expect.any(Number),
      },
    ],
  });
  const bad = await json("bad");
  expect(bad.code).toBe(1);
  expect(bad.lines).toEqual([
    expect.objectContaining({
      object: file,
      program: "bad",
      accepted: false,
      error: {
        code: "PACKET_BOUNDS",
        slot: 1,
        instruction: "r1 = *(u8 *)(r1 + 50)",
        source: expect.objectContaining({
          line: 5,
          text: expect.stringContaining("ctx->data + 50"),
        }),
        registers: ["r1: packet data, not compared with data_end yet"],
        where: expect.stringMatching(
          /, program bad, section "xdp", instruction 1 \(r1 = .*peek\.c:5\)$/,
        ),
        what: "packet byte 50 is accessed, and none is known to be there",
        fix: expect.any(String),
      },
    }),
  ]);
});

clang(
  "verify tells of a program whose section gives it another context than it takes",
  async () => {
    const text = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define FIRST_BYTE(ctx) \\
  ((char *)(long)ctx->data + 1 > (char *)(long)ctx->data_end ? 0 : *(char *)(long)ctx->data)
SEC("tc") int was_xdp(struct xdp_md *ctx) { return FIRST_BYTE(ctx); }
SEC("xdp") int was_tc(struct __sk_buff *ctx) { return FIRST_BYTE(ctx); }
`;
    const { code, stdout } = await weir(["verify", build(folder.write("other.c", text)), "--json"]);
    expect(code).toBe(1);
    const lines = stdout.trimEnd().split("\n");
    const told = lines
      .map((line) => JSON.parse(line))
      .map(({ program, error }) => ({ program, ...error }));
    expect(told.find(({ program }) => program === "was_xdp")).toMatchObject({
      code: "NOT_A_POINTER",
      what: expect.stringMatching(
        /; the program takes a struct xdp_md, and programs of type tc are given a struct __sk_buff$/,
      ),
      fix: 'put it into a section for what it takes: SEC("xdp")',
    });
    expect(told.find(({ program }) => program === "was_tc")).toMatchObject({
      code: "CONTEXT_ACCESS",
      what: expect.stringMatching(
        /; the program takes a struct __sk_buff, and programs of type xdp are given a struct xdp_md$/,
      ),
      fix: 'put it into a section for what it takes: SEC("tc"), SEC("socket") or SEC("cgroup_skb/ingress")',
    });
  },
);

clang(
  "verify tells of a program that cannot be put together, and goes on with the others",
  async () => {
    const text = `${source}SEC("xdp") int broken(struct xdp_md *ctx) {
  asm volatile(".byte 0x85, 0x10, 0, 0, 99, 0, 0, 0");
  return XDP_PASS;
}
SEC("xdp") int last(struct xdp_md *ctx) { return XDP_PASS; }
`;
    const file = build(folder.write("broken.c", text), "-mcpu=v3");
    const { code, stdout, stderr } = await weir(["verify", file, "--json"]);
    expect(code).toBe(1);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ program: "good", accepted: true }),
      expect.objectContaining({ program: "bad", accepted: false }),
      {
        object: file,
        program: "broken",
        accepted: false,
        error: {
          code: "OBJECT_RELOCATION",
          where: `${file}, program broken, section "xdp", function "broken", instruction 0`,
          what: expect.stringMatching(
            /^it leads to byte \d+ of section "xdp", where no function begins$/,
          ),
          fix: expect.any(String),
        },
      },
      expect.objectContaining({ program: "last", accepted: true }),
    ]);
    expect(stderr).toMatch(/^weir verify: .*, program broken, .*: it leads to byte/);
  },
);

clang("check takes a program whose neighbour in the object cannot be put together", async () => {
  const text = `${source}SEC("xdp") int broken(struct xdp_md *ctx) {
  asm volatile(".byte 0x85, 0x10, 0, 0, 99, 0, 0, 0");
  return XDP_PASS;
}
`;
  const file = build(folder.write("beside.c", text), "-mcpu=v3");
  const check = (program: string) => {
    const config = `version: 1
upstreams: { app: { echo: true } }
filters: { one: { object: ${file}, program: ${program} } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:1", upstream: app, ingress: [one] }
`;
    return weir(["check", "-c", folder.write("beside.yaml", config)]);
  };
  expect(await check("good")).toMatchObject({ code: 0, stderr: "" });
  const { code, stderr } = await check("broken");
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /beside\.yaml:3:27: filters\.one\.object: .*, program broken, .*it leads to byte/,
  );
});

clang("verify --log prints the trace before the verdict, --json line by line", async () => {
  const run = ["verify", object(), "--program", "bad", "--log"];
  const { code, stdout } = await weir(run);
  expect(code).toBe(1);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toBe("0: R1=ctx() R10=fp0");
  expect(lines.some((line) => /^1: \(71\) r1 = \*\(u8 \*\)\(r1 \+50\)/.test(line))).toBe(true);
  const asJson = await weir([...run, "--json"]);
  const objects = asJson.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(objects[0]).toEqual({ object: run[1], program: "bad", log: "0: R1=ctx() R10=fp0" });
  expect(objects.at(-1)).toMatchObject({ program: "bad", accepted: false });
});

clang("verify takes the type of programs whose section does not tell it", async () => {
  const text = `#include <linux/bpf.h>
__attribute__((section("mine"))) int p(struct __sk_buff *skb) { return skb->len; }
`;
  const file = build(folder.write("mine.c", text));
  const without = await weir(["verify", file]);
  expect(without).toMatchObject({ code: 1, stdout: "" });
  expect(without.stderr).toContain(
    `weir verify: ${file}, program p: section "mine" does not tell the program's type`,
  );
  const tc = await weir(["verify", file, "--type", "tc"]);
  expect(tc).toMatchObject({ code: 0, stderr: "" });
  const xdp = await weir(["verify", file, "--type", "xdp", "--json"]);
  expect(xdp.code).toBe(0);
  expect(JSON.parse(xdp.stdout)).toMatchObject({ type: "xdp" });
});

clang("verify names the file of a program that cannot be decoded", async () => {
  const file = object();
  const bytes = readFileSync(file);
  // Its "r0 = 2" becomes an opcode that is none.
  const at = bytes.indexOf(Buffer.from("b40000000200000095", "hex"));
  expect(at).toBeGreaterThan(0);
  bytes[at] = 0xff;
  writeFileSync(file, bytes);
  const { code, stderr } = await weir(["verify", file, "--program", "good"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(`weir verify: ${file}, program good, `);
});

/** Its log has some megabytes: more than a pipe holds, and than a reader of its beginning takes. */
const counting = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int count(struct xdp_md *ctx) {
  unsigned long i = 20000;
  asm volatile("1: %0 += -1; if %0 != 0 goto 1b" : "+r"(i));
  return XDP_PASS;
}
`;

clang("verify --log writes all of a long log to a pipe", async () => {
  const file = build(folder.write("count.c", counting), "-mcpu=v3");
  const { code, stdout } = await weir(["verify", "--log", file]);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.filter((line) => /^\d+: \([0-9a-f]{2}\) r\d \+= -1/.test(line))).toHaveLength(
    20_000,
  );
  expect(lines.at(-1)).toMatch(/: program count is accepted/);
});

clang("verify --log ends where its reader goes away, and looks at nothing more", async () => {
  const file = build(folder.write("count.c", counting), "-mcpu=v3");
  const words = [weirCommand, "verify", "--log", file, `${folder.path}/no.o`];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.once("data", () => child.stdout.destroy());
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, "close");
  // Of a file that is not there it would have told.
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

clang("verify reads an object from standard input as -", async () => {
  const bytes = readFileSync(build(folder.write("input.c", source), "-mcpu=v3"));
  const child = spawnSync(process.execPath, [weirCommand, "verify", "-"], { input: bytes });
  expect(child.status).toBe(1);
  const lines = child.stdout.toString().split("\n");
  expect(lines[0]).toMatch(/^standard input: program good is accepted/);
  expect(lines[1]).toBe('standard input: program bad, section "xdp" is refused (PACKET_BOUNDS)');
});

test("verify says so where standard input has no object", async () => {
  const { code, stderr } = await weir(["verify", "-"], "int main;");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^weir verify: standard input: not an ELF object/);
});

for (const { title, args, code, error } of [
  { title: "no object", args: [], code: 2, error: /missing required argument 'object'/ },
  { title: "an unknown option", args: ["x.o", "--verbose"], code: 2, error: /unknown option/ },
  {
    title: "a file that is not there",
    args: ["no.o"],
    code: 1,
    error: /^weir verify: no\.o: there is no such file; check the path$/m,
  },
  {
    title: "a program that is not there",
    args: [filter("blocklist.o"), "--program", "x"],
    code: 1,
    error: /has no program "x"; it has xdp_blocklist/,
  },
  {
    title: "a file that is no object",
    args: [filter("blocklist.c")],
    code: 1,
    error: /blocklist\.c: .*not an ELF object/,
  },
])
  test(`verify refuses ${title}, exit ${code}`, async () => {
    const result = await weir(["verify", ...args]);
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(error);
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });

clang(
  "check shows the line of C and the registers of a filter that is refused, exit 1",
  async () => {
    const config = folder.write(
      "bad.yaml",
      `version: 1
upstreams: { app: { echo: true } }
filters: { peek: { object: ${object()}, program: bad } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:1", upstream: app, ingress: [peek] }
`,
    );
    for (const command of ["check", "run"]) {
      const { code, stdout, stderr } = await weir([command, "-c", config]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      const [message, ...detail] = stderr.trimEnd().split("\n");
      expect(message).toMatch(
        /bad\.yaml:3:28: filters\.peek\.object: .*\.o, program bad, section "xdp", instruction 1 /,
      );
      expect(message).toMatch(/; compare r1 \+ 51 with data_end before this/);
      expect(detail).toEqual([
        expect.stringMatching(/^ {4}\S*peek\.c:5: return /),
        "    r1: packet data, not compared with data_end yet",
      ]);
    }
  },
);

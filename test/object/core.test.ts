import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { loadObject } from "../../src/index.ts";
import { decodeBtf } from "../../src/object/btf-decode.ts";
import { flattenMembers, resolveType, sizeOfType } from "../../src/object/btf-types.ts";
import { stableTypes } from "../../src/object/stable-types.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const test = needing("clang");
const inKernel = needing("kernel bpf()");

inKernel("the table of stable types has sizes and places of the kernel's own", () => {
  const kernel = decodeBtf(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux")), "vmlinux");
  if (!kernel.ok) throw kernel.error;
  const stable = stableTypes();
  const byName = new Map(
    kernel.value.types.map((type, id) => [`${type.kind} ${"name" in type ? type.name : ""}`, id]),
  );
  let compared = 0;
  for (const [name, id] of stable.ids) {
    const type = resolveType(stable, id);
    if (type.kind !== "struct") continue;
    const theirs = byName.get(`struct ${name}`);
    // A kernel without SCTP or ICMPv6 has not all of them.
    if (theirs === undefined) continue;
    compared++;
    expect(sizeOfType(stable, id), name).toBe(sizeOfType(kernel.value, theirs));
    const members = flattenMembers(stable, type);
    for (const { name: member, bitOffset, bitSize, type: of } of flattenMembers(
      kernel.value,
      resolveType(kernel.value, theirs),
    )) {
      const ours = members.find((one) => one.name === member);
      expect(ours && [ours.bitOffset, ours.bitSize], `${name}.${member}`).toEqual([
        bitOffset,
        bitSize,
      ]);
      expect(sizeOfType(stable, ours!.type), `${name}.${member}`).toBe(
        sizeOfType(kernel.value, of),
      );
    }
  }
  expect(compared).toBeGreaterThan(15);
});

async function refusal(...flags: string[]) {
  using object = await loadObject(compile("core.c", ...flags), { file: "core.o" });
  try {
    object.program("program");
  } catch (error) {
    return error;
  }
  return undefined;
}

test("a program that reads a kernel's struct is refused where a path comes to it", async () => {
  expect(await refusal()).toMatchObject({
    code: "OBJECT_CORE_RELOCATION",
    where: expect.stringMatching(
      /^core\.o, program program, section "xdp", instruction \d+ \(r\d = \*\(u32 \*\)\(r\d \+ 4\), \S*core\.c:\d+\)$/,
    ),
    what: "its CO-RE relocation asks the kernel for the offset of field data_len of struct sk_buff, and user space has no kernel types",
    fix: "use the struct of the linux/ headers, without preserve_access_index",
  });
});

test("a field that the real struct lacks is named", async () => {
  expect(await refusal("-DSTABLE")).toMatchObject({
    code: "OBJECT_CORE_RELOCATION",
    what: "its CO-RE relocation asks the kernel for the offset of field total_length of struct iphdr, and struct iphdr has no field total_length",
  });
});

test("the value of an enum that only a kernel has is refused with advice on enums", async () => {
  expect(await refusal("-DENUM_VALUE")).toMatchObject({
    what: expect.stringContaining("for the value of TCP_SECRET of enum tcp_states, and"),
    fix: "use the enum's constant, without bpf_core_enum_value",
  });
});

for (const [flag, asked] of [
  ["-DNESTED", "the offset of field parts[2].id of struct sk_buff"],
  ["-DELEMENT", "the offset of struct sk_buff[3]"],
  ["-DFIELD_SIZE", "the size of field data_len of struct sk_buff"],
  ["-DLEFT_SHIFT", "the left shift of field flag of struct sk_buff"],
  ["-DTYPE_SIZE", "the size of struct sk_buff"],
  ["-DTYPE_ID", "the type id of struct sk_buff"],
] as const)
  test(`what is asked of the kernel is named: ${asked}`, async () => {
    expect(await refusal(flag)).toMatchObject({
      what: `its CO-RE relocation asks the kernel for ${asked}, and user space has no kernel types`,
    });
  });

test("a field that a test of its existence guards is no reason to refuse", async () => {
  for (const engine of ["interpreter", "jit"] as const) {
    using object = await loadObject(compile("core.c", "-DGUARDED"), { engine });
    expect(object.program("program").run(new Uint8Array(60)).verdict).toBe("pass");
  }
});

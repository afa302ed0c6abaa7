import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { test as vitestTest } from "vitest";

/**
 * Tests that need more than Node: a tool on PATH, root, or the kernel's bpf().
 *
 *     const test = needing("clang", "root");
 *     test("loads what clang builds", () => …);
 *
 * Where something is missing the test is skipped and its title says what it needs. Where
 * WEIR_TESTS_REQUIRE_ALL is set (CI), it runs and fails by that name instead.
 */
export function needing(...needs: readonly string[]): typeof vitestTest {
  const missing = needs.filter((need) => !available(need));
  if (missing.length === 0) return vitestTest;
  const because = `needs ${missing.join(", ")}`;
  const requireAll = Boolean(process.env.WEIR_TESTS_REQUIRE_ALL);
  const named = (title: string): void => {
    if (requireAll)
      vitestTest(title, () => {
        throw new Error(`${because}, and WEIR_TESTS_REQUIRE_ALL allows no skip`);
      });
    else vitestTest.skip(`${title} [skipped: ${because}]`, () => {});
  };
  return named as unknown as typeof vitestTest;
}

const known = new Map<string, boolean>();

function available(need: string): boolean {
  let answer = known.get(need);
  if (answer === undefined) {
    answer = probe(need);
    known.set(need, answer);
  }
  return answer;
}

function probe(need: string): boolean {
  switch (need) {
    case "root":
      return process.getuid?.() === 0;
    case "linux":
      return process.platform === "linux";
    case "kernel bpf()":
      return (
        process.getuid?.() === 0 &&
        spawnSync("bpftool", ["prog", "list"], { stdio: "ignore" }).status === 0
      );
    case "vxlan devices":
      return process.getuid?.() === 0 && hasVxlan();
    default:
      return onPath(need);
  }
}

/** Whether the kernel makes VXLAN devices: one in a namespace that is gone at once. */
function hasVxlan(): boolean {
  const device = ["link", "add", "weir-probe", "type", "vxlan", "id", "1", "dstport", "4789"];
  return spawnSync("unshare", ["--net", "ip", ...device], { stdio: "ignore" }).status === 0;
}

function onPath(tool: string): boolean {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

import { MAIN_THREAD } from "../../runtime/map-runtime.ts";
import {
  REDIRECT_TO_WORKER,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_SCRATCH,
} from "../../runtime/wasm/layout.ts";
import { type Helper, type HelperRun, R1, R2, R3, xdpOnly } from "./helper.ts";

/** enum xdp_action, linux/bpf.h. */
const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
/** The low bits of redirect_map's flags are the action for a key that is not there. */
const actionMask = 3;
const BPF_F_BROADCAST = 8;
const BPF_F_EXCLUDE_INGRESS = 16;
const deviceFlags = BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS;

/**
 * The helpers that choose where a redirected packet goes. They only note it in the slot: the
 * packet goes there if the program then returns XDP_REDIRECT.
 */
export const redirectHelpers: readonly Helper[] = [
  {
    id: 23,
    name: "redirect",
    arguments: ["anything", "anything"],
    types: xdpOnly,
    call(run) {
      const { registers } = run;
      if ((registers[R2]! | registers[R2 + 1]!) !== 0) return XDP_ABORTED;
      choose(run, registers[R1]!, 0);
      return XDP_REDIRECT;
    },
  },
  {
    id: 51,
    name: "redirect_map",
    arguments: ["map", "anything", "anything"],
    types: xdpOnly,
    maps: ["devmap", "devmap_hash", "cpumap", "xskmap"],
    /** A broadcast names no port of its own: the flags alone are noted. */
    call(run) {
      const flags = run.registers[R3]!;
      const known = actionMask | (run.map!.type.startsWith("devmap") ? deviceFlags : 0);
      if ((flags & ~known) !== 0 || run.registers[R3 + 1] !== 0) return XDP_ABORTED;
      const broadcast = (flags & BPF_F_BROADCAST) !== 0;
      const ifindex = deviceAt(run);
      if (ifindex === 0 && !broadcast) {
        // A failed lookup undoes an earlier choice: the last call decides.
        choose(run, 0, 0);
        return flags & actionMask;
      }
      choose(run, broadcast ? 0 : ifindex, flags);
      return XDP_REDIRECT;
    },
  },
];

/**
 * The ifindex that a map holds under the key in r2 (its low word, as in the kernel), or 0. An entry
 * of a cpumap names a worker: the packet goes on to its destination, as the kernel's goes on to the
 * stack on that CPU.
 */
function deviceAt(run: HelperRun): number {
  const { arena, runtime } = run.context;
  const key = run.memory.slot + SLOT_SCRATCH;
  arena.view.setInt32(key, run.registers[R2]!, true);
  // As user space sees the entry: what a program finds in an xskmap is its queue.
  const value = runtime.lookup(run.map!.descriptor, key, MAIN_THREAD);
  if (value === 0) return 0;
  return run.map!.type === "cpumap" ? REDIRECT_TO_WORKER : arena.view.getUint32(value, true);
}

function choose(run: HelperRun, ifindex: number, flags: number): void {
  const { view } = run.context.arena;
  view.setInt32(run.memory.slot + SLOT_REDIRECT_IFINDEX, ifindex, true);
  view.setInt32(run.memory.slot + SLOT_REDIRECT_FLAGS, flags, true);
}

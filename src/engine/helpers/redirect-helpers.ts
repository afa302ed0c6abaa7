import { errno } from "../../common/errno.ts";
import { MAIN_THREAD } from "../../runtime/map-runtime.ts";
import {
  F_BROADCAST,
  F_EXCLUDE_INGRESS,
  REDIRECT_TO_WORKER,
  SLOT_CLONES_SHIFT,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_REDIRECT_MAP,
  SLOT_SCRATCH,
} from "../../runtime/wasm/layout.ts";
import { loopbackOnly } from "../network.ts";
import {
  type Helper,
  type HelperRun,
  R1,
  R2,
  R3,
  R4,
  tcTypes,
  xdpAndTc,
  xdpOnly,
} from "./helper.ts";
import { flagBits, setFlagBits } from "./skb-frame.ts";

/** enum xdp_action, linux/bpf.h. */
const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
/** The low bits of redirect_map's flags are the action for a key that is not there. */
const actionMask = 3;
/** TC_ACT_*, linux/pkt_cls.h. */
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
/** Into the port as if it came from outside; to a port here that is the same. */
const BPF_F_INGRESS = 1;
/** sizeof(struct bpf_redir_neigh). */
const neighbourBytes = 20;
/** Copies that programs may send of one packet. */
export const maxClones = 16;
const clonesMask = 31;
const deviceFlags = F_BROADCAST | F_EXCLUDE_INGRESS;

/**
 * The helpers that choose where a redirected packet goes. They only note it in the slot: the
 * packet goes there if the program then returns XDP_REDIRECT or TC_ACT_REDIRECT. A copy goes at once.
 */
export const redirectHelpers: readonly Helper[] = [
  {
    id: 23,
    name: "redirect",
    arguments: ["anything", "anything"],
    types: xdpAndTc,
    call(run) {
      const { registers, memory } = run;
      if (tcTypes.includes(memory.type)) return redirectSkb(run, R2, BPF_F_INGRESS);
      if ((registers[R2]! | registers[R2 + 1]!) !== 0) return XDP_ABORTED;
      choose(run, registers[R1]!, 0);
      return XDP_REDIRECT;
    },
  },
  {
    id: 155,
    name: "redirect_peer",
    arguments: ["anything", "anything"],
    types: tcTypes,
    /** A port has no peer in another namespace: the packet goes to the port. */
    call: (run) => redirectSkb(run, R2, 0),
  },
  {
    id: 152,
    name: "redirect_neigh",
    arguments: ["anything", "readable_memory_or_null", "size_or_zero", "anything"],
    types: tcTypes,
    /** Whoever takes the packet finds the next hop by itself: the packet goes to the port. */
    call(run) {
      const size = run.registers[R3]!;
      return size !== 0 && size < neighbourBytes ? TC_ACT_SHOT : redirectSkb(run, R4, 0);
    },
  },
  {
    id: 13,
    name: "clone_redirect",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    // A datagram sent costs microseconds.
    work: 1000,
    call: sendCopy,
  },
  {
    id: 51,
    name: "redirect_map",
    arguments: ["map", "anything", "anything"],
    types: xdpOnly,
    maps: ["devmap", "devmap_hash", "cpumap", "xskmap"],
    /**
     * A broadcast names no port of its own: the map is noted, and which ports it holds is found once
     * the program has returned, however often it asked.
     */
    call(run) {
      const flags = run.registers[R3]!;
      const known = actionMask | (run.map!.type.startsWith("devmap") ? deviceFlags : 0);
      if ((flags & ~known) !== 0 || run.registers[R3 + 1] !== 0) return XDP_ABORTED;
      if ((flags & F_BROADCAST) !== 0) {
        const { view } = run.context.arena;
        view.setUint32(run.memory.slot + SLOT_REDIRECT_MAP, run.map!.descriptor, true);
        choose(run, 0, flags);
        return XDP_REDIRECT;
      }
      const ifindex = deviceAt(run);
      if (ifindex === 0) {
        // A failed lookup undoes an earlier choice: the last call decides.
        choose(run, 0, 0);
        return flags & actionMask;
      }
      choose(run, ifindex, flags);
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

/** TC_ACT_REDIRECT to the ifindex in r1, unless flags other than `allowed` are set. */
function redirectSkb(run: HelperRun, flagsAt: number, allowed: number): number {
  const { registers } = run;
  const flags = registers[flagsAt]!;
  if ((flags & ~allowed) !== 0 || registers[flagsAt + 1] !== 0) return TC_ACT_SHOT;
  choose(run, registers[R1]!, flags);
  return TC_ACT_REDIRECT;
}

function sendCopy(run: HelperRun): number {
  const { registers, memory, context } = run;
  const ifindex = registers[R2]! >>> 0;
  if ((registers[R3]! & ~BPF_F_INGRESS) !== 0 || registers[R3 + 1] !== 0) return -errno.EINVAL;
  const network = context.network ?? loopbackOnly;
  if (!network.hasDevice(ifindex)) return -errno.EINVAL;
  const before = flagBits(run, SLOT_CLONES_SHIFT, clonesMask);
  if (before === maxClones) return -errno.ENOMEM;
  setFlagBits(run, SLOT_CLONES_SHIFT, clonesMask, before + 1);
  return network.sendCopy(memory.slot, ifindex);
}

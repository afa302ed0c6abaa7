import { errno } from "../../common/errno.ts";
import { SLOT_CHECKSUMS_SHIFT } from "../../runtime/wasm/layout.ts";
import { type Helper, type HelperRun, R2, R3, R4, R5, tcTypes } from "./helper.ts";
import { flagBits, frameChanged, setFlagBits } from "./skb-frame.ts";

/** Flags of the replace helpers, linux/bpf.h: the size of what changed, and what the checksum is of. */
const BPF_F_HDR_FIELD_MASK = 0xf;
const BPF_F_PSEUDO_HDR = 0x10;
const BPF_F_MARK_MANGLED_0 = 0x20;
const BPF_F_MARK_ENFORCE = 0x40;
const BPF_F_IPV6 = 0x80;

/** BPF_CSUM_LEVEL_*. */
const LEVEL_QUERY = 0;
const LEVEL_INC = 1;
const LEVEL_DEC = 2;
const LEVEL_RESET = 3;
/** Kernel: SKB_MAX_CSUM_LEVEL. */
const maxLevel = 3;
const levelMask = 7;

/**
 * The helpers that mend a checksum in a packet after a change, and what skb->ip_summed and
 * skb->csum_level say of checksums: net/core/filter.c, include/net/checksum.h. A packet comes with
 * none of its checksums known to be right (CHECKSUM_NONE).
 */
export const skbChecksumHelpers: readonly Helper[] = [
  {
    id: 10,
    name: "l3_csum_replace",
    arguments: ["context", "anything", "anything", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: (run) => replace(run, BPF_F_HDR_FIELD_MASK),
  },
  {
    id: 11,
    name: "l4_csum_replace",
    arguments: ["context", "anything", "anything", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: (run) =>
      replace(
        run,
        BPF_F_HDR_FIELD_MASK |
          BPF_F_PSEUDO_HDR |
          BPF_F_MARK_MANGLED_0 |
          BPF_F_MARK_ENFORCE |
          BPF_F_IPV6,
      ),
  },
  {
    id: 40,
    name: "csum_update",
    arguments: ["context", "anything"],
    types: tcTypes,
    /** There is a sum to add to only where a device summed the packet (CHECKSUM_COMPLETE). */
    call: () => -errno.ENOTSUPP,
  },
  {
    id: 135,
    name: "csum_level",
    arguments: ["context", "anything"],
    types: tcTypes,
    call: changeLevel,
  },
];

/** Both replace helpers: r2 the checksum's offset, r3 and r4 the value before and after, r5 flags. */
function replace(run: HelperRun, allowed: number): number {
  const { registers, memory } = run;
  const { view } = run.context.arena;
  const offset = registers[R2]! >>> 0;
  const [from, to, flags] = [registers[R3]! >>> 0, registers[R4]! >>> 0, registers[R5]!];
  if ((flags & ~allowed) !== 0 || registers[R5 + 1] !== 0) return -errno.EINVAL;
  if (offset > 0xffff || (offset & 1) !== 0) return -errno.EFAULT;
  const at = memory.packet + offset;
  if (at + 2 > memory.packetEnd) return -errno.EFAULT;
  const sum = view.getUint16(at, true);
  const markZero = (flags & BPF_F_MARK_MANGLED_0) !== 0;
  if (markZero && (flags & BPF_F_MARK_ENFORCE) === 0 && sum === 0) return 0;
  let mended: number;
  switch (flags & BPF_F_HDR_FIELD_MASK) {
    case 0:
      // The caller has the difference already, from bpf_csum_diff. From and to are 64 bits wide here.
      if ((registers[R3]! | registers[R3 + 1]!) !== 0) return -errno.EINVAL;
      mended = fold(add(to, ~sum >>> 0));
      break;
    case 2:
      // Of layer 4 the kernel widens two bytes to four.
      mended =
        allowed === BPF_F_HDR_FIELD_MASK
          ? ~add16(add16(~sum & 0xffff, ~from & 0xffff), to & 0xffff) & 0xffff
          : fold(add(add(~sum >>> 0, ~(from & 0xffff) >>> 0), to & 0xffff));
      break;
    case 4:
      mended = fold(add(add(~sum >>> 0, ~from >>> 0), to));
      break;
    default:
      return -errno.EINVAL;
  }
  view.setUint16(at, markZero && mended === 0 ? 0xffff : mended, true);
  frameChanged(run);
  return 0;
}

/** csum_add: 32 bits with end-around carry. */
function add(a: number, b: number): number {
  const sum = a + b;
  return sum > 0xffff_ffff ? (sum >>> 0) + 1 : sum;
}

function add16(a: number, b: number): number {
  const sum = a + b;
  return sum > 0xffff ? (sum & 0xffff) + 1 : sum;
}

/** csum_fold: the complement of the sum in 16 bits. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~((once & 0xffff) + (once >>> 16)) & 0xffff;
}

function changeLevel(run: HelperRun): number {
  const checked = flagBits(run, SLOT_CHECKSUMS_SHIFT, levelMask);
  const set = (value: number): number => {
    setFlagBits(run, SLOT_CHECKSUMS_SHIFT, levelMask, value);
    return 0;
  };
  const level = run.registers[R2]!;
  if (run.registers[R2 + 1] !== 0) return -errno.EINVAL;
  switch (level) {
    case LEVEL_INC:
      return set(Math.min(checked + 1, maxLevel + 1));
    case LEVEL_DEC:
      return set(Math.max(checked - 1, 0));
    case LEVEL_RESET:
      return set(0);
    case LEVEL_QUERY:
      return checked === 0 ? -errno.EACCES : checked - 1;
    default:
      return -errno.EINVAL;
  }
}

/** __skb_reset_checksum_unnecessary: nothing says any more that checksums are right. */
export function forgetChecksums(run: HelperRun): void {
  setFlagBits(run, SLOT_CHECKSUMS_SHIFT, levelMask, 0);
}

import { errno } from "../../common/errno.ts";
import { MAP_WORKERS, SLOT_DATA, SLOT_DATA_END } from "../../runtime/wasm/layout.ts";
import { contextTypes, type Helper, type HelperRun, R3, R4, R5 } from "./helper.ts";
import { stepBytes } from "./helper-work.ts";

/** BPF_F_CURRENT_CPU: the low word of the flags, otherwise a CPU's number. */
const currentCpu = -1;
/** BPF_F_CTXLEN_MASK, in the high word: bytes of the packet that follow the program's own. */
const packetBytesMask = 0xf_ffff;
/** A perf record's size is 16 bits wide; this leaves room for its headers. */
const mostEventBytes = 65_000;

/** Events for whoever reads the map: net/core/filter.c, kernel/trace/bpf_trace.c. */
export const eventHelpers: readonly Helper[] = [
  {
    id: 25,
    name: "perf_event_output",
    arguments: ["context", "map", "anything", "readable_memory", "size_or_zero"],
    types: contextTypes,
    maps: ["perf_event_array"],
    call: output,
  },
];

function output(run: HelperRun): number {
  const { registers, context, memory } = run;
  const map = run.map!;
  const { arena, runtime, cpu } = context;
  const packetBytes = registers[R3 + 1]!;
  if ((packetBytes & ~packetBytesMask) !== 0) return -errno.EINVAL;
  const data = arena.words[(memory.slot + SLOT_DATA) >> 2]!;
  const end = arena.words[(memory.slot + SLOT_DATA_END) >> 2]!;
  if (packetBytes > end - data) return -errno.EFAULT;
  const index = registers[R3] === currentCpu ? cpu : registers[R3]! >>> 0;
  if (index >= map.maxEntries) return -errno.E2BIG;
  if (index !== cpu) {
    // Another worker's ring is that worker's alone to write.
    const workers = arena.view.getUint32(map.descriptor + MAP_WORKERS, true);
    return index < workers ? -errno.EOPNOTSUPP : -errno.ENOENT;
  }
  const size = registers[R5]!;
  if (size + packetBytes > mostEventBytes) return -errno.E2BIG;
  const sample = runtime.reserve(map.descriptor, index, size + packetBytes, cpu);
  if (sample === 0) return -errno.ENOSPC;
  const from = registers[R4]!;
  arena.bytes.copyWithin(sample, from, from + size);
  arena.bytes.copyWithin(sample + size, data, data + packetBytes);
  runtime.commit(sample, 0);
  run.work += packetBytes / stepBytes;
  return 0;
}

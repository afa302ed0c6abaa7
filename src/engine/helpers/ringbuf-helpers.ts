import { errno } from "../../common/errno.ts";
import { MAP_RINGS, RING_CONSUMER, RING_MASK, RING_PRODUCER } from "../../runtime/wasm/layout.ts";
import { anyType, type Helper, type HelperRun, R1, R2, R3, R4 } from "./helper.ts";

/** BPF_RB_NO_WAKEUP and BPF_RB_FORCE_WAKEUP: the reader here looks by itself, whatever they say. */
const wakeUpFlags = 3;

/** The helpers that write records into a ring buffer: kernel/bpf/ringbuf.c. */
export const ringbufHelpers: readonly Helper[] = [
  {
    id: 130,
    name: "ringbuf_output",
    arguments: ["map", "readable_memory", "size_or_zero", "anything"],
    types: anyType,
    maps: ["ringbuf"],
    call(run) {
      const { registers, context } = run;
      if ((registers[R4]! & ~wakeUpFlags) !== 0 || registers[R4 + 1] !== 0) return -errno.EINVAL;
      const size = registers[R3]!;
      const sample = reserve(run, size);
      if (sample === 0) return -errno.EAGAIN;
      const from = registers[R2]!;
      context.arena.bytes.copyWithin(sample, from, from + size);
      context.runtime.commit(sample, 0);
      return 0;
    },
  },
  {
    id: 131,
    name: "ringbuf_reserve",
    arguments: ["map", "allocation_size", "anything"],
    types: anyType,
    returns: "reserved_memory_or_null",
    maps: ["ringbuf"],
    call(run) {
      const { registers, memory } = run;
      if (registers[R3] !== 0 || registers[R3 + 1] !== 0 || registers[R2 + 1] !== 0) return 0;
      const size = registers[R2]!;
      const sample = reserve(run, size);
      if (sample !== 0) memory.holdings.addRecord(sample, size);
      return sample;
    },
  },
  {
    id: 132,
    name: "ringbuf_submit",
    arguments: ["reserved_memory", "anything"],
    types: anyType,
    returns: "nothing",
    call: (run) => end(run, false),
  },
  {
    id: 133,
    name: "ringbuf_discard",
    arguments: ["reserved_memory", "anything"],
    types: anyType,
    returns: "nothing",
    call: (run) => end(run, true),
  },
  {
    id: 134,
    name: "ringbuf_query",
    arguments: ["map", "anything"],
    types: anyType,
    maps: ["ringbuf"],
    call: query,
  },
];

function reserve({ context, map }: HelperRun, size: number): number {
  return context.runtime.reserve(map!.descriptor, 0, size, context.cpu);
}

function end({ memory, registers }: HelperRun, isDiscarded: boolean): number {
  memory.holdings.endRecord(registers[R1]!, isDiscarded);
  memory.forget();
  return 0;
}

/** Bytes not read yet, the ring's size, or a position: 64 bits that only ever grow. */
function query({ registers, context, map }: HelperRun): number | undefined {
  const { view } = context.arena;
  const ring = view.getUint32(map!.descriptor + MAP_RINGS, true);
  const which = registers[R2 + 1] === 0 ? registers[R2] : -1;
  switch (which) {
    case 0:
      return (
        (view.getInt32(ring + RING_PRODUCER, true) - view.getInt32(ring + RING_CONSUMER, true)) >>>
        0
      );
    case 1:
      return view.getUint32(ring + RING_MASK, true) + 1;
    case 2:
    case 3: {
      const at = ring + (which === 2 ? RING_CONSUMER : RING_PRODUCER);
      registers[0] = view.getInt32(at, true);
      registers[1] = view.getInt32(at + 4, true);
      return undefined;
    }
    default:
      return 0;
  }
}

import { errno } from "../../common/errno.ts";
import { SLOT_DATA, SLOT_DATA_END } from "../../runtime/wasm/layout.ts";
import { type Helper, R2, R3, R4, socketOnly } from "./helper.ts";

/** Helpers on a packet that the program cannot address itself. */
export const socketHelpers: readonly Helper[] = [
  {
    id: 26,
    name: "skb_load_bytes",
    arguments: ["context", "anything", "writable_memory", "size"],
    types: socketOnly,
    /** Where the packet does not hold all the bytes, the buffer is zeroed. */
    call(run) {
      const { view, bytes } = run.context.arena;
      const { registers, memory } = run;
      const offset = registers[R2]!;
      const to = registers[R3]!;
      const size = registers[R4]!;
      const from = view.getUint32(memory.slot + SLOT_DATA, true) + offset;
      const end = view.getUint32(memory.slot + SLOT_DATA_END, true);
      if (offset < 0 || from + size > end) {
        bytes.fill(0, to, to + size);
        return -errno.EFAULT;
      }
      bytes.copyWithin(to, from, from + size);
      return 0;
    },
  },
];

import { anyType, type Helper, R1 } from "./helper.ts";

/** Locks in map values, for what a program changes in several steps: kernel/bpf/helpers.c. */
export const spinLockHelpers: readonly Helper[] = [
  {
    id: 93,
    name: "spin_lock",
    arguments: ["spin_lock"],
    types: anyType,
    returns: "nothing",
    spinLock: "lock",
    call({ memory, registers }) {
      memory.holdings.takeLock(registers[R1]!);
      return 0;
    },
  },
  {
    id: 94,
    name: "spin_unlock",
    arguments: ["spin_lock"],
    types: anyType,
    returns: "nothing",
    spinLock: "unlock",
    call({ memory }) {
      memory.holdings.freeLock();
      return 0;
    },
  },
];

import { anyType, type Helper } from "./helper.ts";

/** What a program may ask of its host: time, randomness, and where it runs. */
export const systemHelpers: readonly Helper[] = [
  {
    id: 5,
    name: "ktime_get_ns",
    arguments: [],
    types: anyType,
    call({ registers, context }) {
      registers[0] = context.clock.low;
      registers[1] = context.clock.high;
      return undefined;
    },
  },
  {
    id: 7,
    name: "get_prandom_u32",
    arguments: [],
    types: anyType,
    call: (run) => run.context.random(),
  },
  {
    id: 8,
    name: "get_smp_processor_id",
    arguments: [],
    types: anyType,
    call: (run) => run.context.cpu,
  },
];

import { anyType, contextTypes, type Helper, type HelperRun } from "./helper.ts";

const wordValues = 2 ** 32;
/** A timer tick of a kernel with CONFIG_HZ=250. */
const nsPerTick = 4_000_000;
const nsPerMs = 1_000_000n;

/** What a program may ask of its host: time, randomness, and where it runs. */
export const systemHelpers: readonly Helper[] = [
  {
    id: 5,
    name: "ktime_get_ns",
    arguments: [],
    types: anyType,
    // The JIT has it in an instruction.
    work: 0,
    call: readClock,
  },
  {
    id: 125,
    name: "ktime_get_boot_ns",
    arguments: [],
    types: anyType,
    /** The same clock: how long a host slept is no matter of a process that slept with it. */
    call: readClock,
  },
  {
    id: 160,
    name: "ktime_get_coarse_ns",
    arguments: [],
    types: contextTypes,
    call: readClock,
  },
  {
    id: 208,
    name: "ktime_get_tai_ns",
    arguments: [],
    types: anyType,
    /** The time of day, as on a host that nobody told of leap seconds; exact to a millisecond. */
    call(run) {
      const now = BigInt(Date.now()) * nsPerMs;
      return put(run, Number(now & 0xffff_ffffn), Number(now >> 32n));
    },
  },
  {
    id: 118,
    name: "jiffies64",
    arguments: [],
    types: anyType,
    call(run) {
      const { low, high } = run.context.clock;
      const ticks = Math.floor(((high >>> 0) * wordValues + (low >>> 0)) / nsPerTick);
      return put(run, ticks % wordValues, Math.floor(ticks / wordValues));
    },
  },
  {
    id: 42,
    name: "get_numa_node_id",
    arguments: [],
    types: anyType,
    call: () => 0,
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
    work: 0,
    call: (run) => run.context.cpu,
  },
];

function readClock(run: HelperRun): undefined {
  return put(run, run.context.clock.low, run.context.clock.high);
}

/** A 64-bit result. */
function put({ registers }: HelperRun, low: number, high: number): undefined {
  registers[0] = low;
  registers[1] = high;
  return undefined;
}

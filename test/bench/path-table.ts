/** Tables of what steps cost, for `path.ts`. */
const rounds = 5;

export interface Cost {
  /** Nanoseconds a packet. */
  readonly user: number;
  readonly system: number;
}

/** A step's name, and its cost for each column. */
export interface Step {
  readonly name: string;
  readonly measure: (payloadBytes: number) => Promise<Cost> | Cost;
}

/** What is measured in a column, and how many bytes of payload that has. */
export interface Column {
  readonly title: string;
  readonly bytes: number;
}

/** Measures all steps in turns, and prints the medians of the rounds. */
export async function table(
  title: string,
  columns: readonly Column[],
  steps: readonly Step[],
): Promise<void> {
  const samples = new Map<string, Cost[]>();
  for (let round = -1; round < rounds; round++)
    for (const { name, measure } of steps)
      for (const { bytes } of columns) {
        const cost = await measure(bytes);
        // The first round warms up.
        if (round < 0) continue;
        const key = `${name} ${bytes}`;
        samples.set(key, [...(samples.get(key) ?? []), cost]);
      }
  console.log(
    `| ${title}, ns: user + system | ${columns.map((column) => column.title).join(" | ")} |`,
  );
  console.log(`|---|${"---|".repeat(columns.length)}`);
  for (const { name } of steps) {
    const cells = columns.map(({ bytes }) => {
      const all = samples.get(`${name} ${bytes}`)!;
      const user = median(all.map((cost) => cost.user));
      const system = median(all.map((cost) => cost.system));
      return system < 1 ? shown(user) : `${shown(user)} + ${shown(system)}`;
    });
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  }
  console.log("");
}

/** Nanoseconds a call, over 20 ms. */
export function cost(step: () => unknown): Cost {
  const calls = 1000;
  const before = process.threadCpuUsage();
  let done = 0;
  do {
    for (let i = 0; i < calls; i++) step();
    done += calls;
  } while (process.threadCpuUsage(before).user < 20_000);
  // No step here asks the kernel for anything: what it took is the machine's doing.
  return { user: since(before, done).user, system: 0 };
}

export function since(before: NodeJS.CpuUsage, packets: number): Cost {
  const { user, system } = process.threadCpuUsage(before);
  return { user: (user * 1000) / packets, system: (system * 1000) / packets };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function shown(ns: number): string {
  return `${Number(ns.toPrecision(ns < 100 ? 2 : 3))}`;
}

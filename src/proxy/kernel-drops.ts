import { open, readFile } from "node:fs/promises";
import { parseAddress } from "../packet/address.ts";
import type { BoundListener } from "./supervisor.ts";

/** Where the kernel tells of its sockets. proc(5). */
export interface KernelFiles {
  /** One socket a line. A file that is not there has none. */
  readonly tables: readonly string[];
  /** Errors of all sockets together, by protocol: of IPv4 and of IPv6. */
  readonly totals: readonly string[];
  /** Milliseconds after which a reading stops, a chunk read at least. */
  readonly mostReadingMs: number;
}

/**
 * A table takes the kernel longer the more sockets there are, and by the square: 30 ms for 5,000, 170 for
 * 15,000 (Linux 6.18). The next reading goes on where one had to stop.
 */
const ownFiles: KernelFiles = {
  tables: ["/proc/net/udp", "/proc/net/udp6"],
  totals: ["/proc/net/snmp", "/proc/net/snmp6"],
  mostReadingMs: 1_000,
};

/** The kernel gives a page a call. */
const chunkBytes = 65_536;
/** Names of listeners that are no more, whose counts are kept for when they come back. */
const maxAbsent = 64;

/** What is asked of the proxy. */
export interface KernelDropsSource {
  readonly listeners: readonly BoundListener[];
  /** Name of the listener whose session has a socket with these ports; undefined: none of node:dgram. */
  sessionListener(localPort: number, remotePort: number): string | undefined;
}

/** A socket that has lost datagrams. */
interface LossySocket {
  readonly listener: string;
  readonly drops: number;
}

/** Once through all tables, in one reading or in several. */
interface Pass {
  /** The kernel's errors of all sockets before it: what is dropped meanwhile is for the next one. */
  readonly errors: string | undefined;
  /** Where it goes on: number of the table, and the first byte of a line there. */
  table: number;
  at: number;
  /** Inodes of the listeners' sockets that it has found. */
  readonly seen: Set<string>;
  /** False where a table could not be read: what it has not seen may still be there. */
  isWhole: boolean;
}

/**
 * Datagrams that the kernel dropped because the receive buffer of a socket of node:dgram was full, by
 * listener: that of the listener or tunnel itself, and of its sessions. From the `drops` column of
 * /proc/net/udp and udp6; nothing where the system has no such file. Counts never fall: what a socket
 * had lost when it was last seen is kept after it. What it lost later, nobody can tell any more.
 */
export class KernelDrops {
  readonly #source: KernelDropsSource;
  readonly #files: KernelFiles;
  /** By inode. */
  readonly #sockets = new Map<string, LossySocket>();
  /** Of sockets that are gone, by listener. */
  readonly #gone = new Map<string, number>();
  /** The kernel's errors of all sockets before the last pass through all tables that ended whole. */
  #errors: string | undefined;
  /** What that pass has seen. */
  #seen: ReadonlySet<string> = new Set();
  /** Begun, and not at its end yet. */
  #pass: Pass | undefined;
  #reading: Promise<void> | undefined;

  constructor(source: KernelDropsSource, files = ownFiles) {
    this.#source = source;
    this.#files = files;
  }

  /** As of the last `refresh`. */
  of(listener: string): number {
    let drops = this.#gone.get(listener) ?? 0;
    for (const socket of this.#sockets.values())
      if (socket.listener === listener) drops += socket.drops;
    return drops;
  }

  /**
   * Reads the tables, but only where the kernel has had an error with any UDP datagram since they were
   * last read to their ends: on from where the last reading stopped, for a second at most. Calls that
   * overlap share one reading. A table that cannot be read is read again the next time.
   */
  refresh(): Promise<void> {
    this.#reading ??= this.#refresh().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #refresh(): Promise<void> {
    this.#pass ??= await this.#begin();
    if (this.#pass === undefined) return;
    if (await this.#read(this.#pass)) {
      if (this.#pass.isWhole) this.#end(this.#pass);
      this.#pass = undefined;
    }
    this.#forget();
  }

  /** A new pass, where there is anything new to find. */
  async #begin(): Promise<Pass | undefined> {
    const errors = await receiveErrors(this.#files.totals);
    if (errors !== undefined && errors === this.#errors) return undefined;
    return { errors, table: 0, at: 0, seen: new Set(), isWhole: true };
  }

  /** Goes on with a pass; whether it has come through all tables. */
  async #read(pass: Pass): Promise<boolean> {
    const { tables, mostReadingMs } = this.#files;
    const deadlineMs = performance.now() + mostReadingMs;
    const byAddress = new Map(
      this.#source.listeners
        .filter(({ io }) => io === "dgram")
        .map(({ name, address: { host, port } }) => [procAddress(host, port), name]),
    );
    const onLine = (line: string): void => {
      const socket = lossySocket(line);
      if (socket === undefined) return;
      const { local, remotePort, inode, drops } = socket;
      const listener =
        remotePort === 0
          ? byAddress.get(local)
          : this.#source.sessionListener(portOf(local), remotePort);
      if (listener === undefined) return;
      pass.seen.add(inode);
      this.#found(inode, { listener, drops });
    };
    for (; pass.table < tables.length; pass.table++) {
      const stopped = await readLines(tables[pass.table]!, pass.at, deadlineMs, onLine);
      pass.at = typeof stopped === "number" ? stopped : 0;
      if (typeof stopped === "number") return false;
      if (stopped === "failed") pass.isWhole = false;
    }
    return true;
  }

  #found(inode: string, now: LossySocket): void {
    const before = this.#sockets.get(inode);
    this.#sockets.set(inode, now);
    if (before === undefined || before.listener === now.listener) return;
    // Another listener's by now, after a reload: what it lost so far stays where it was.
    this.#keep(before.listener, before.drops);
    this.#keep(now.listener, -before.drops);
  }

  /**
   * What neither this pass nor the one before has seen is gone. One may miss a socket that is there, whose
   * line moved behind it as others went: taken for gone, it would be counted twice when it is seen again.
   */
  #end({ seen, errors }: Pass): void {
    for (const [inode, { listener, drops }] of this.#sockets) {
      if (seen.has(inode) || this.#seen.has(inode)) continue;
      this.#sockets.delete(inode);
      this.#keep(listener, drops);
    }
    this.#seen = seen;
    this.#errors = errors;
  }

  #keep(listener: string, drops: number): void {
    this.#gone.set(listener, (this.#gone.get(listener) ?? 0) + drops);
  }

  #forget(): void {
    const names = new Set(this.#source.listeners.map(({ name }) => name));
    const absent = [...this.#gone.keys()].filter((name) => !names.has(name));
    for (const name of absent.slice(0, -maxAbsent)) this.#gone.delete(name);
  }
}

/** The kernel's counts of UDP datagrams that it could not deliver; undefined where it does not tell. */
async function receiveErrors(totals: readonly string[]): Promise<string | undefined> {
  try {
    const [ipv4, ipv6] = await Promise.all(totals.map((file) => readFile(file, "latin1")));
    const [names, values] = ipv4!.split("\n").filter((line) => line.startsWith("Udp: "));
    const at = names!.split(" ").indexOf("InErrors");
    return `${values!.split(" ")[at]} ${/^Udp6InErrors\s+(\d+)/m.exec(ipv6!)?.[1]}`;
  } catch {
    return undefined;
  }
}

/**
 * Gives `onLine` the lines of a table from the byte `at` on: the first of a line, or in the middle of one
 * where the table has changed since. Where it stopped as time was up; "end" where there are no more, or
 * there is no such file.
 */
async function readLines(
  file: string,
  at: number,
  deadlineMs: number,
  onLine: (line: string) => void,
): Promise<number | "end" | "failed"> {
  const opened = await open(file).catch((error: NodeJS.ErrnoException) => error);
  if (opened instanceof Error) return opened.code === "ENOENT" ? "end" : "failed";
  try {
    const chunk = Buffer.alloc(chunkBytes);
    let position = at;
    let rest = "";
    for (;;) {
      const read = await opened.read(chunk, 0, chunk.length, position).catch(() => undefined);
      if (read === undefined) return "failed";
      if (read.bytesRead === 0) return "end";
      position += read.bytesRead;
      const lines = (rest + chunk.toString("latin1", 0, read.bytesRead)).split("\n");
      rest = lines.pop()!;
      for (const line of lines) onLine(line);
      if (performance.now() >= deadlineMs) return position - rest.length;
    }
  } finally {
    await opened.close();
  }
}

/**
 * What a table's line tells of a socket that has lost datagrams; undefined for all others, and for the
 * rest of a line, which has too few fields.
 */
function lossySocket(line: string) {
  const text = line.trimEnd();
  // Of thousands nearly all: not worth taking apart.
  if (text.endsWith(" 0")) return undefined;
  const fields = text.trim().split(/\s+/);
  const [, local, remote] = fields;
  const inode = fields[9];
  const drops = Number(fields[12]);
  if (local === undefined || remote === undefined || inode === undefined || !(drops > 0))
    return undefined;
  return { local, remotePort: portOf(remote), inode, drops };
}

/** Of an address and port as the table writes them. */
function portOf(text: string): number {
  return Number.parseInt(text.slice(text.indexOf(":") + 1), 16);
}

/** An address and port as the table writes them: each 32-bit word in the host's (little) order. */
function procAddress(host: string, port: number): string {
  const address = parseAddress(host) ?? new Uint8Array(4);
  let text = "";
  for (let word = 0; word < address.length; word += 4)
    for (let byte = 3; byte >= 0; byte--) text += hex(address[word + byte]!, 2);
  return `${text}:${hex(port, 4)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}

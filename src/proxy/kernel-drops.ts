import { open, readFile } from "node:fs/promises";
import { parseAddress } from "../packet/address.ts";
import type { BoundListener } from "./supervisor.ts";

/** Where the kernel tells of sockets, and of errors of all of them together. proc(5). */
const tables = ["/proc/net/udp", "/proc/net/udp6"];
const totals = ["/proc/net/snmp", "/proc/net/snmp6"];

/**
 * A table takes the kernel longer the more sockets there are, and by the square: 30 ms for 5,000, 170 for
 * 15,000 (Linux 6.18). What is not read by then waits for the next reading.
 */
const mostReadingMs = 1_000;
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

/**
 * Datagrams that the kernel dropped because the receive buffer of a socket of node:dgram was full, by
 * listener: that of the listener or tunnel itself, and of its sessions. From the `drops` column of
 * /proc/net/udp and udp6; nothing where the system has no such file. Counts never fall: what a socket
 * had lost when it was last seen is kept after it. What it lost later, nobody can tell any more.
 */
export class KernelDrops {
  readonly #source: KernelDropsSource;
  /** By inode. */
  #sockets: ReadonlyMap<string, LossySocket> = new Map();
  /** Of sockets that are gone, by listener. */
  readonly #gone = new Map<string, number>();
  /** The kernel's errors of all sockets when tables were last read. */
  #errors: string | undefined;
  #reading: Promise<void> | undefined;

  constructor(source: KernelDropsSource) {
    this.#source = source;
  }

  /** As of the last `refresh`. */
  of(listener: string): number {
    let drops = this.#gone.get(listener) ?? 0;
    for (const socket of this.#sockets.values())
      if (socket.listener === listener) drops += socket.drops;
    return drops;
  }

  /**
   * Reads the tables, but only where the kernel has had an error with any UDP datagram since the last
   * time. Calls that overlap share one reading.
   */
  refresh(): Promise<void> {
    this.#reading ??= this.#refresh().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #refresh(): Promise<void> {
    // Before the tables: what is dropped meanwhile is found by the next reading.
    const errors = await receiveErrors();
    if (errors !== undefined && errors === this.#errors) return;
    const { listeners } = this.#source;
    const byAddress = new Map(
      listeners
        .filter(({ io }) => io === "dgram")
        .map(({ name, address: { host, port } }) => [procAddress(host, port), name]),
    );
    const deadlineMs = performance.now() + mostReadingMs;
    const found = new Map<string, LossySocket>();
    let isWhole = true;
    for (const table of tables)
      for await (const line of linesOf(table, deadlineMs)) {
        if (line === undefined) {
          isWhole = false;
          break;
        }
        const socket = lossySocket(line);
        if (socket === undefined) continue;
        const { local, remotePort, inode, drops } = socket;
        const listener =
          remotePort === 0
            ? byAddress.get(local)
            : this.#source.sessionListener(portOf(local), remotePort);
        if (listener !== undefined) found.set(inode, { listener, drops });
      }
    for (const [inode, before] of this.#sockets) {
      const now = found.get(inode);
      if (now?.listener === before.listener) continue;
      if (now === undefined && !isWhole) found.set(inode, before);
      // It is gone, or another listener's by now, after a reload: what it lost so far stays where it was.
      else this.#keep(before.listener, before.drops);
      if (now !== undefined) this.#keep(now.listener, -before.drops);
    }
    this.#sockets = found;
    this.#forget(listeners);
    if (isWhole) this.#errors = errors;
  }

  #keep(listener: string, drops: number): void {
    this.#gone.set(listener, (this.#gone.get(listener) ?? 0) + drops);
  }

  #forget(listeners: readonly BoundListener[]): void {
    const names = new Set(listeners.map(({ name }) => name));
    const absent = [...this.#gone.keys()].filter((name) => !names.has(name));
    for (const name of absent.slice(0, -maxAbsent)) this.#gone.delete(name);
  }
}

/** The kernel's counts of UDP datagrams that it could not deliver; undefined where it does not tell. */
async function receiveErrors(): Promise<string | undefined> {
  try {
    const [ipv4, ipv6] = await Promise.all(totals.map((file) => readFile(file, "latin1")));
    const [names, values] = ipv4!.split("\n").filter((line) => line.startsWith("Udp: "));
    const at = names!.split(" ").indexOf("InErrors");
    return `${values!.split(" ")[at]} ${/^Udp6InErrors\s+(\d+)/m.exec(ipv6!)?.[1]}`;
  } catch {
    return undefined;
  }
}

/** The lines of a table; undefined as the last where time was up. None where there is no such file. */
async function* linesOf(
  file: string,
  deadlineMs: number,
): AsyncGenerator<string | undefined, void, undefined> {
  const opened = await open(file).catch(() => undefined);
  if (opened === undefined) return;
  try {
    const chunk = Buffer.alloc(chunkBytes);
    let rest = "";
    for (;;) {
      if (performance.now() >= deadlineMs) {
        yield undefined;
        return;
      }
      const { bytesRead } = await opened.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) return;
      const lines = (rest + chunk.toString("latin1", 0, bytesRead)).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
  } finally {
    await opened.close();
  }
}

/** What a table's line tells of a socket that has lost datagrams; undefined for all others. */
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

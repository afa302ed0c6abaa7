import { readFileSync } from "node:fs";
import { parseAddress } from "../packet/address.ts";
import type { BoundListener } from "./supervisor.ts";

/** How long one reading serves: the listeners of one scrape share it. */
const freshMs = 100;

/**
 * Datagrams that the kernel dropped because the receive buffer of a UDP listener or tunnel was full, by listener:
 * the `drops` column of /proc/net/udp and udp6 (proc(5)), summed over the workers' sockets. 0 where
 * the system has no such file.
 */
export class KernelDrops {
  readonly #keys: readonly (string | undefined)[];
  #drops = new Map<string, number>();
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(listeners: readonly BoundListener[]) {
    this.#keys = listeners.map(({ protocol, address }) =>
      protocol === "tcp" ? undefined : procAddress(address.host, address.port),
    );
  }

  of(listener: number): number {
    const key = this.#keys[listener];
    if (key === undefined) return 0;
    const nowMs = performance.now();
    if (nowMs - this.#readAtMs > freshMs) {
      this.#drops = new Map();
      for (const file of ["/proc/net/udp", "/proc/net/udp6"]) addDrops(file, this.#drops);
      this.#readAtMs = nowMs;
    }
    return this.#drops.get(key) ?? 0;
  }
}

/** Adds up the drops of a table's sockets that are bound and not connected, by local address. */
function addDrops(file: string, drops: Map<string, number>): void {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return;
  }
  for (const line of text.split("\n").slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [, local, remote] = fields;
    if (local === undefined || remote === undefined || !/^0+:0000$/.test(remote)) continue;
    drops.set(local, (drops.get(local) ?? 0) + Number(fields.at(-1)));
  }
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

/** Each port: where its listener counts, and the port that its socket is connected to. */
const portCount = 65_536;

/**
 * Which listener each session's socket is, by its local port, in memory that the main thread reads: the
 * kernel's tables tell ports alone. For sockets of node:dgram; those of `io: mmsg` are asked themselves.
 */
export class SessionPorts {
  readonly memory: SharedArrayBuffer;
  readonly #places: Int32Array;
  readonly #remotes: Int32Array;

  /** `memory` is another thread's. What was never written to takes none. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(portCount * 8)) {
    this.memory = memory;
    this.#places = new Int32Array(memory, 0, portCount);
    this.#remotes = new Int32Array(memory, portCount * 4, portCount);
  }

  /** `place` is where the session's listener counts (`Counters.placeOf`). */
  set(localPort: number, remotePort: number, place: number): void {
    Atomics.store(this.#remotes, localPort, remotePort);
    Atomics.store(this.#places, localPort, place);
  }

  clear(localPort: number): void {
    Atomics.store(this.#places, localPort, 0);
  }

  /** Where the listener counts whose session has a socket with these ports; 0: there is none. */
  placeOf(localPort: number, remotePort: number): number {
    if (Atomics.load(this.#remotes, localPort) !== remotePort) return 0;
    return Atomics.load(this.#places, localPort);
  }
}

import type { DropReason } from "../../common/drop-reason.ts";
import { ok, type Result } from "../../common/result.ts";
import { addressFamily, isWildcard } from "../local-address.ts";
import type { QueueTally } from "../send-queue.ts";
import type { SendingSocket, SendingSocketOptions, SendingSockets } from "../sending-socket.ts";
import type { Peer } from "./peers.ts";

/** Source ports of a tunnel, and so the flows that routers on the way can tell apart. */
const socketsPerFamily = 16;

/**
 * The sockets that a bridge sends from: 16 source ports, of which a flow always has the same.
 * RFC 7348 §5, RFC 8926 §3.3. Nothing is received on them.
 */
export class FlowSockets {
  readonly #makers: SendingSockets;
  readonly #sockets: Record<4 | 6, SendingSocket[]> = { 4: [], 6: [] };
  readonly #onLost: (reason: DropReason) => void;

  /** `onLost`: a datagram that was counted as sent went nowhere. */
  constructor(makers: SendingSockets, onLost: (reason: DropReason) => void) {
    this.#makers = makers;
    this.#onLost = onLost;
  }

  /** Binds to the address that `listen` names, so that peers see one source; wildcard: the route's. */
  async open(
    families: ReadonlySet<4 | 6>,
    listen: string,
  ): Promise<Result<undefined, NodeJS.ErrnoException>> {
    for (const family of families) {
      const own = !isWildcard(listen) && addressFamily(listen) === family;
      const host = own ? listen : family === 4 ? "0.0.0.0" : "::";
      const options = { family, host, port: 0, reusePort: false, onLost: this.#onLost };
      for (let i = 0; i < socketsPerFamily; i++) {
        const socket = await this.#bind(options);
        if (!socket.ok) {
          this.close();
          return socket;
        }
        this.#sockets[family].push(socket.value);
      }
    }
    return ok(undefined);
  }

  /** Sends, or says why not. See `SendingSocket` on what becomes of the bytes, and of the frame. */
  send(
    peer: Peer,
    hash: number,
    datagram: Uint8Array,
    frameBytes: number,
    tally: QueueTally,
  ): DropReason | undefined {
    const socket = this.#sockets[peer.family][hash % socketsPerFamily];
    if (socket === undefined) return "shutting_down";
    return socket.send(datagram, peer, peer.heard, frameBytes, tally);
  }

  close(): void {
    for (const family of [4, 6] as const)
      for (const socket of this.#sockets[family].splice(0)) socket.close();
  }

  #bind(options: SendingSocketOptions): Promise<Result<SendingSocket, NodeJS.ErrnoException>> {
    return new Promise((resolve) => this.#makers.sending(options, resolve));
  }
}

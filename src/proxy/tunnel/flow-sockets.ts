import type { Socket } from "node:dgram";
import type { DropReason } from "../../common/drop-reason.ts";
import { err, ok, type Result } from "../../common/result.ts";
import { addressFamily, isWildcard } from "../local-address.ts";
import { upstreamDropReason } from "../socket-error.ts";
import { maxQueuedBytes } from "../udp-socket.ts";
import { bindSocket } from "./bind-socket.ts";
import type { Peer } from "./peers.ts";

/** Source ports of a tunnel, and so the flows that routers on the way can tell apart. */
const socketsPerFamily = 16;

/**
 * The sockets that a bridge sends from: 16 source ports, of which a flow always has the same.
 * RFC 7348 §5, RFC 8926 §3.3. Nothing is received on them.
 */
export class FlowSockets {
  readonly #sockets: Record<4 | 6, Socket[]> = { 4: [], 6: [] };
  readonly #onLost: (reason: DropReason) => void;
  /** One for all sends: what the system says of a datagram that a peer never seen was sent. */
  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.#onLost(upstreamDropReason(error));
  };

  /** `onLost`: a datagram that was sent went nowhere. */
  constructor(onLost: (reason: DropReason) => void) {
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
      for (let i = 0; i < socketsPerFamily; i++) {
        const socket = await bindSocket(family, host, 0, false);
        if (!socket.ok) {
          this.close();
          return err(socket.error);
        }
        socket.value.on("error", (error) => this.#onLost(upstreamDropReason(error)));
        this.#sockets[family].push(socket.value);
      }
    }
    return ok(undefined);
  }

  /** Sends, or says why not. The bytes must not change afterwards: the kernel may take them later. */
  send(peer: Peer, hash: number, datagram: Uint8Array): DropReason | undefined {
    const socket = this.#sockets[peer.family][hash % socketsPerFamily];
    if (socket === undefined) return "shutting_down";
    if (socket.getSendQueueSize() > maxQueuedBytes) return "send_queue_full";
    // A callback costs time, and is how a refused send shows itself: worth it until the peer is
    // known to be there.
    if (peer.heard) socket.send(datagram, peer.port, peer.host);
    else socket.send(datagram, peer.port, peer.host, this.#sent);
    return undefined;
  }

  close(): void {
    for (const family of [4, 6] as const)
      for (const socket of this.#sockets[family].splice(0)) socket.close();
  }
}

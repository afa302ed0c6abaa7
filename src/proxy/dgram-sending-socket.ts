import type { Socket } from "node:dgram";
import { copyBytes } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { ok } from "../common/result.ts";
import type { DatagramPeer } from "./datagram-socket.ts";
import type { QueueTally } from "./send-queue.ts";
import type { SendingSocket, SendingSockets } from "./sending-socket.ts";
import { upstreamDropReason } from "./socket-error.ts";
import { bindSocket, SendRoom } from "./udp-socket.ts";

/** `io: dgram`: a system call a datagram. */
export const dgramSendingSockets: SendingSockets = {
  sending: ({ onLost, ...address }, onBound) =>
    bindSocket({ ...address, sendsOnly: true }, (bound) =>
      onBound(bound.ok ? ok(new DgramSendingSocket(bound.value, onLost)) : bound),
    ),
};

class DgramSendingSocket implements SendingSocket {
  readonly #socket: Socket;
  readonly #room: SendRoom;

  constructor(socket: Socket, onLost: (reason: DropReason) => void) {
    this.#socket = socket;
    this.#room = new SendRoom(socket);
    socket.on("error", (error) => onLost(upstreamDropReason(error)));
  }

  send(
    datagram: Uint8Array,
    { address, port }: DatagramPeer,
    isHeard: boolean,
    frameBytes: number,
    tally: QueueTally,
  ): DropReason | undefined {
    const socket = this.#socket;
    if (!this.#room.take(datagram.length)) return "send_queue_full";
    const lasting = datagram.buffer instanceof SharedArrayBuffer ? copyOf(datagram) : datagram;
    // A callback costs time, and is how a refused send shows itself: worth it until the other end
    // is known to be there.
    if (isHeard) {
      tally.forwarded("pass", frameBytes);
      socket.send(lasting, port, address);
    } else
      socket.send(lasting, port, address, (error) => {
        if (error === null) tally.forwarded("pass", frameBytes);
        else tally.dropped(upstreamDropReason(error), frameBytes);
      });
    return undefined;
  }

  close(): void {
    this.#socket.close();
  }
}

/** libuv keeps what the kernel does not take yet; a packet slot holds the next packet by then. */
function copyOf(datagram: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(datagram.length);
  copyBytes(datagram, 0, datagram.length, copy, 0);
  return copy;
}

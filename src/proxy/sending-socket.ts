import type { DropReason } from "../common/drop-reason.ts";
import type { Result } from "../common/result.ts";
import type { DatagramPeer } from "./datagram-socket.ts";
import type { QueueTally } from "./send-queue.ts";

/** A bound UDP socket that datagrams leave from, to anyone. Nothing is received on it. */
export interface SendingSocket {
  /**
   * Sends, or says why not. `tally` counts `frameBytes` when its fate is known, if it was not refused
   * here. Bytes outside of packet slots must not change afterwards: the kernel may take them later.
   * `isHeard`: datagrams came from there, so that it can be reached.
   */
  send(
    datagram: Uint8Array,
    to: DatagramPeer,
    isHeard: boolean,
    frameBytes: number,
    tally: QueueTally,
  ): DropReason | undefined;
  close(): void;
}

export interface SendingSocketOptions {
  readonly family: 4 | 6;
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly reusePort: boolean;
  /** A datagram that was counted as sent went nowhere. */
  readonly onLost: (reason: DropReason) => void;
}

/** Makes sockets that send. */
export interface SendingSockets {
  /** Binds a socket. `onBound` gets it, or what went wrong, maybe before this returns. */
  sending(
    options: SendingSocketOptions,
    onBound: (bound: Result<SendingSocket, NodeJS.ErrnoException>) => void,
  ): void;
}

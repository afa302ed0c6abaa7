import type { Socket } from "node:net";

/**
 * Ends a connection by RST, so that the peer cannot take what it has for the whole.
 *
 * libuv refuses to reset a socket that is being dialled or shut down at that moment, and Node then
 * leaves the handle open for good: such a socket is closed instead.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const shuttingDown = socket.writableEnded && !socket.writableFinished;
  if (socket.connecting || shuttingDown) socket.destroy();
  else socket.resetAndDestroy();
}

/**
 * Sends no more to `socket`: its FIN. Where it has ended too and all is written, closing it says the same for a
 * system call and a turn less, since nothing can come any more that would make an RST of it.
 */
export function endSocket(socket: Socket): void {
  if (socket.readableEnded && socket.writableLength === 0) socket.destroy();
  else socket.end();
}

/**
 * A module to preload (`--import`) into every thread of Weir: a data worker whose socket gets "die"
 * throws, as a bug would. Node tells of the sockets; Weir has no switch for this.
 */
export const saboteur = `
import { subscribe } from "node:diagnostics_channel";
import { isMainThread } from "node:worker_threads";
if (!isMainThread)
  subscribe("udp.socket", ({ socket }) =>
    socket.on("message", (payload) => {
      if (payload.toString() === "die") throw new Error("sabotage");
    }),
  );
`;

/**
 * A module to preload (`--import`) into every thread of Weir: a data worker whose socket gets "die"
 * throws, as a bug would; one that gets "spin" or "spin in WebAssembly" never comes to an
 * end. Node tells of the sockets; Weir has no switch for this.
 */
export const saboteur = `
import { subscribe } from "node:diagnostics_channel";
import { writeSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
// (module (func (export "f") (loop (br 0))))
const endless = Uint8Array.from(
  Buffer.from("0061736d0100000001040160000003020100070501016600000a0901070003400c000b0b", "hex"),
);
const deeds = {
  die: () => {
    throw new Error("sabotage");
  },
  spin: () => {
    // Not by way of the main thread, which such a worker never comes back to.
    writeSync(2, "spinning\\n");
    for (;;);
  },
  "spin in WebAssembly": () => {
    writeSync(2, "spinning\\n");
    new WebAssembly.Instance(new WebAssembly.Module(endless)).exports.f();
  },
};
if (!isMainThread)
  subscribe("udp.socket", ({ socket }) =>
    socket.on("message", (payload) => deeds[payload.toString()]?.()),
  );
`;

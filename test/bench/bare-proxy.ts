/**
 * The least that a proxy on Node's own sockets does, for benchmarks: `node bare-proxy.ts UDP ECHO TCP
 * WEB` forwards datagrams that come to 127.0.0.1:UDP to port ECHO, and connections to TCP to WEB. No
 * filter, no limit, no time-out, no counter.
 */
import { createSocket, type Socket } from "node:dgram";
import { numericLookup, socketBufferBytes } from "../../src/proxy/udp-socket.ts";
import { serveStreams } from "./bare-streams.ts";

const [udpPort, echoPort, tcpPort, webPort] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
];
const host = "127.0.0.1";

function udpSocket(): Socket {
  return createSocket({
    type: "udp4",
    lookup: numericLookup,
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
  });
}

const listener = udpSocket();
const sessions = new Map<number, (datagram: Buffer) => void>();
listener.on("message", (datagram, { port }) => {
  let send = sessions.get(port);
  if (send === undefined) {
    const session = udpSocket();
    const waiting: Buffer[] = [];
    send = (early) => waiting.push(early);
    session.on("message", (answer) => listener.send(answer, port, host));
    session.connect(echoPort, host, () => {
      for (const early of waiting) session.send(early);
      sessions.set(port, (later) => session.send(later));
    });
    sessions.set(port, send);
  }
  send(datagram);
});
listener.bind(udpPort, host);

await serveStreams(tcpPort, webPort);
console.log("up");

/**
 * The least that a proxy on Node's own sockets does, for benchmarks: `node bare-proxy.ts UDP ECHO TCP
 * WEB` forwards datagrams that come to 127.0.0.1:UDP to port ECHO, and connections to TCP to WEB. No
 * filter, no limit, no time-out, no counter.
 */
import { createSocket, type Socket } from "node:dgram";
import { connect, createServer, type Socket as Stream } from "node:net";
import { numericLookup, socketBufferBytes } from "../../src/proxy/udp-socket.ts";

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

function pump(from: Stream, to: Stream): void {
  from.on("data", (chunk) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("error", () => to.destroy());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const upstream = connect({ host, port: webPort, allowHalfOpen: true, noDelay: true });
  pump(client, upstream);
  pump(upstream, client);
});
server.listen(tcpPort, host, () => console.log("up"));

import { describe, expect, test } from "vitest";
import { problemsOf, type RefusedConfig, testFile } from "./refused-config.ts";

/** By subject: configs with everything that is wrong with them, as it is printed. */
const refused: Readonly<Record<string, readonly RefusedConfig[]>> = {
  references: [
    {
      title: "unknown upstreams are told with what there is",
      text: `version: 1
upstreams: { application: { echo: true } }
ports: { 2: aplication }
listeners:
  - { name: a, protocol: udp, listen: 127.0.0.1:1, upstream: app }
`,
      problems: `
3:13: ports.2: no upstream "aplication"; did you mean application?
5:62: listeners[0].upstream: no upstream "app"; there is application
`,
    },
    {
      title: "unknown filters are told beside items that are no names",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: [blcklist, "x:y", "a:b:c"] }
filters: { blocklist: { object: ../filters/blocklist.o } }
`,
      problems: `
4:82: listeners[0].ingress[0]: no filter "blcklist"; did you mean blocklist?
4:92: listeners[0].ingress[1]: no filter "x"; there is blocklist
4:99: listeners[0].ingress[2]: a chain names a filter, or a program of its object as "filter:program"; for example blocklist
`,
    },
    {
      title: "listeners differ in name, number and address",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
metrics: { listen: "127.0.0.1:80" }
listeners:
  - { name: a, protocol: tcp, listen: "0.0.0.0:80", upstream: app, ifindex: 2 }
  - { name: a, protocol: tcp, listen: "127.0.0.1:81", upstream: app, ifindex: 2 }
  - { name: b, protocol: tcp, listen: "[::]:81", upstream: app, ifindex: 7 }
  - { name: c, protocol: udp, listen: "[::]:81", upstream: app }
  - { name: d, protocol: udp, listen: "[::1]:82", upstream: app }
  - { name: e, protocol: udp, listen: "[0:0::1]:82", upstream: app }
ports: { 7: app }
`,
      problems: `
5:39: listeners[0].listen: tcp 0.0.0.0:80 is taken by metrics.listen (127.0.0.1:80); choose another port or address
6:13: listeners[1].name: "a" is the name of the listener at line 5 too; give each listener a name of its own
6:79: listeners[1].ifindex: 2 is the number of the listener at line 5 too; choose another
7:39: listeners[2].listen: tcp [::]:81 is taken by the listener at line 6 (127.0.0.1:81); choose another port or address
7:74: listeners[2].ifindex: 7 is the number of a port (line 11); ports and listeners share one space of numbers: choose another
10:39: listeners[5].listen: udp [0:0::1]:82 is taken by the listener at line 9 ([::1]:82); choose another port or address
`,
    },
    {
      title: "checks of a server that gets PROXY headers say whether they send one",
      text: `version: 1
upstreams:
  app: { addresses: ["127.0.0.1:5353"], healthCheck: { host: a.test } }
  told: { addresses: ["127.0.0.1:5354"], healthCheck: { proxyProtocol: off } }
  other: { addresses: ["127.0.0.1:5355"], healthCheck: { port: 80 } }
listeners:
  - { name: a, protocol: tcp, listen: "127.0.0.1:1", upstream: app, proxyProtocol: { send: v1 } }
  - { name: b, protocol: tcp, listen: "127.0.0.1:2", upstream: told, proxyProtocol: { send: v2 } }
  - { name: c, protocol: tcp, listen: "127.0.0.1:3", upstream: other, proxyProtocol: { send: v2 } }
`,
      problems: `
3:41: upstreams.app.healthCheck: the listener at line 7 sends PROXY headers there, and checks would not; add proxyProtocol: v1, or off where the server takes connections without a header
3:62: upstreams.app.healthCheck.host: has no effect on a check of type tcp; remove it, or write type: http
`,
    },
    {
      title: "PROXY headers are of TCP, and believed of somebody",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app, proxyProtocol: { send: v2 } }
  - { name: b, protocol: tcp, listen: "127.0.0.1:1", upstream: app, proxyProtocol: { accept: optional } }
`,
      problems: `
4:69: listeners[0].proxyProtocol: has no effect on a udp listener; remove it
5:94: listeners[1].proxyProtocol.accept: headers are accepted, and nobody is trusted to send them; list the proxies' addresses under trust
`,
    },
    {
      title: "a key that has no effect is refused",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:5300", upstream: app, onDrop: reset, onSegmentDrop: discard, localAddress: 192.0.2.1 }
  - { name: b, protocol: tcp, listen: "0.0.0.0:5300", upstream: app, localAddress: 192.0.2.1 }
  - { name: c, protocol: udp, listen: "0.0.0.0:5301", upstream: app, localAddress: "2001:db8::1" }
  - { name: d, protocol: udp, listen: "0.0.0.0:5302", upstream: app, localAddress: 0.0.0.0 }
`,
      problems: `
4:72: listeners[0].onDrop: has no effect on a udp listener; remove it
4:87: listeners[0].onSegmentDrop: has no effect on a udp listener; remove it
4:111: listeners[0].localAddress: has no effect: the listener is bound to 127.0.0.1, which filters see; remove it
5:70: listeners[1].localAddress: has no effect on a tcp listener; remove it
6:84: listeners[2].localAddress: 2001:db8::1 is IPv6, and 0.0.0.0 takes IPv4 packets only; write an IPv4 address, or listen on [::]
7:84: listeners[3].localAddress: 0.0.0.0 is no address a packet can have been sent to; write one of this machine's addresses
`,
    },
    {
      title: "routes name ports that there are, and keys that belong together",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
ports: { 2: app }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app }]
routes:
  - { to: 192.0.2.0/24 }
  - { to: 192.0.2.1/24, port: 2 }
  - { to: 0.0.0.0/0, port: 3 }
  - { to: 10.0.0.0/8, action: blackhole, gateway: 10.0.0.1 }
  - { to: "2001:db8::/32", port: 2, gateway: 10.0.0.1, source: 10.0.0.2, mac: "02:00" }
  - { to: 198.51.100.0/24, port: 2, gateway: "2001:db8::1" }
`,
      problems: `
6:5: routes[0]: no port; name the port that packets leave by
7:11: routes[1].to: "192.0.2.1/24" has bits set beyond its length; write 192.0.2.0/24, or the address alone
8:28: routes[2].port: no port 3; add it under ports; there is 2
9:42: routes[3].gateway: has no effect on a route of action blackhole; remove it
10:46: routes[4].gateway: 10.0.0.1 is IPv4, and the route is for IPv6; write an IPv6 address
10:64: routes[4].source: 10.0.0.2 is IPv4, and the route is for IPv6; write an IPv6 address
10:79: routes[4].mac: "02:00" is no hardware address; write one as 02:00:00:00:00:01
`,
    },
    {
      title: "a listener does not send to itself",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: a, protocol: udp, listen: "0.0.0.0:5353", upstream: app }]
`,
      problems: `
3:73: listeners[0].upstream: 127.0.0.1:5353 of upstream "app" is this listener itself; give the upstream or the listener another port
`,
    },
  ],
  tunnels: [
    {
      title: "a bridge has two peers that differ, of the family that it listens on, and not itself",
      text: `version: 1
listeners:
  - { name: a, protocol: vxlan, listen: "0.0.0.0:4789" }
  - { name: b, protocol: vxlan, listen: "0.0.0.0:4790", peers: { left: 192.0.2.1 } }
  - { name: c, protocol: geneve, listen: "0.0.0.0:6081", peers: { left: 192.0.2.1, right: "192.0.2.1:6081", six: "[2001:db8::1]", me: 127.0.0.1 } }
`,
      problems: `
3:5: listeners[0]: a bridge has at least two peers, found 0; write peers: { left: "192.0.2.1", right: "192.0.2.2" }
4:64: listeners[1].peers: a bridge has at least two peers, found 1; write peers: { left: "192.0.2.1", right: "192.0.2.2" }
5:91: listeners[2].peers.right: the same address as left; remove one of them
5:114: listeners[2].peers.six: 2001:db8::1 is not of the address family of 0.0.0.0, which the tunnel listens on; listen on an address of its family, or on [::]
5:135: listeners[2].peers.me: 127.0.0.1:6081 is this tunnel itself; write the address of the other end
`,
    },
    {
      title: "a tunnel without a port has its protocol's, which other protocols lack",
      text: `version: 1
upstreams: { app: { echo: true } }
listeners:
  - { name: a, protocol: vxlan, listen: "0.0.0.0", mode: mirror }
  - { name: b, protocol: vxlan, listen: "0.0.0.0:4789", mode: mirror }
  - { name: c, protocol: geneve, listen: "127.0.0.1", mode: mirror }
  - { name: d, protocol: udp, listen: "[::1]:6081", upstream: app }
  - { name: e, protocol: udp, listen: "127.0.0.1", upstream: app }
  - { name: f, protocol: tcp, listen: "[::1]", upstream: app }
`,
      problems: `
5:41: listeners[1].listen: udp 0.0.0.0:4789 is taken by the listener at line 4 (0.0.0.0:4789); choose another port or address
8:39: listeners[4].listen: 127.0.0.1 has no port, and udp has none of its own; write one: "127.0.0.1:5300"
9:39: listeners[5].listen: ::1 has no port, and tcp has none of its own; write one: "[::1]:5300"
`,
    },
    {
      title: "what a peer, a network and an MTU can be",
      text: `version: 1
listeners:
  - name: a
    protocol: vxlan
    listen: "0.0.0.0:4789"
    peers: { left: app, right: "192.0.2.2:0", "b.c": 192.0.2.3 }
    vni: 16777216
    mtu: 100
`,
      problems: `
6:20: listeners[0].peers.left: "app" is not the address of a peer; write an IP address, with a port if it is not the usual one: "192.0.2.1", "192.0.2.1:4789" or "[2001:db8::1]"
6:32: listeners[0].peers.right: "192.0.2.2:0" is not the address of a peer; write an IP address, with a port if it is not the usual one: "192.0.2.1", "192.0.2.1:4789" or "[2001:db8::1]"
6:47: listeners[0].peers["b.c"]: "b.c" is not a name: letters, digits, _ and -, beginning with a letter, at most 63
7:10: listeners[0].vni: expected a network's number, or a list of them, found 16777216
8:10: listeners[0].mtu: expected a whole number from 576 to 65535, found 100
`,
    },
    {
      title: "a tunnel's keys have an effect in their protocol and mode",
      text: `version: 1
upstreams: { app: { echo: true } }
listeners:
  - { name: a, protocol: udp, listen: "0.0.0.0:1", upstream: app, mode: gwlb, vni: 1, peers: { x: 192.0.2.1 }, mtu: 1500, healthCheck: "0.0.0.0:2" }
  - { name: b, protocol: vxlan, listen: "0.0.0.0:2", upstream: nobody, mode: gwlb, onDrop: reset, localAddress: 192.0.2.1 }
  - { name: c, protocol: geneve, listen: "0.0.0.0:3", mode: mirror, mtu: 1500, healthCheck: "0.0.0.0:4", peers: {} }
  - { name: d, protocol: geneve, listen: "0.0.0.0:4", mode: gwlb, allowDestinations: ["10.0.0.0/8"], healthCheck: "0.0.0.0:5" }
  - { name: e, protocol: tcp, listen: "127.0.0.1:5", upstream: app }
  - { name: f, protocol: geneve, listen: "0.0.0.0:2", mode: gwlb }
`,
      problems: `
4:67: listeners[0].mode: has no effect on a udp listener; remove it
4:79: listeners[0].vni: has no effect on a udp listener; remove it
4:87: listeners[0].peers: has no effect on a udp listener; remove it
4:112: listeners[0].mtu: has no effect on a udp listener; remove it
4:123: listeners[0].healthCheck: has no effect on a udp listener; remove it
5:54: listeners[1].upstream: has no effect on a vxlan listener; remove it
5:78: listeners[1].mode: a gateway load balancer speaks GENEVE; write protocol: geneve
5:84: listeners[1].onDrop: has no effect on a vxlan listener; remove it
5:99: listeners[1].localAddress: has no effect on a vxlan listener; remove it
6:69: listeners[2].mtu: has no effect in mode mirror, which sends nothing; remove it
6:80: listeners[2].healthCheck: has no effect in mode mirror; remove it
6:113: listeners[2].peers: an empty list of peers would let nobody in, or everybody; name a peer, or leave peers out to take frames from anyone
7:67: listeners[3].allowDestinations: has no effect on a geneve listener, whose frames go to peers whatever they say; remove it
8:39: listeners[4].listen: tcp 127.0.0.1:5 is taken by the listener at line 7 (0.0.0.0:5); choose another port or address
9:42: listeners[5].listen: udp 0.0.0.0:2 is taken by the listener at line 5 (0.0.0.0:2); choose another port or address
`,
    },
    {
      title: "a port names the peer of a bridge, which knows where to send",
      text: `version: 1
upstreams: { app: { echo: true } }
ports: { 1: dc.left, 2: dc.rigth, 3: lb.gw, 4: app.left, 5: app }
listeners:
  - { name: dc, protocol: vxlan, listen: "0.0.0.0:4789", peers: { left: 192.0.2.1, right: 192.0.2.2 } }
  - { name: lb, protocol: geneve, listen: "0.0.0.0:6081", mode: gwlb, peers: { gw: 192.0.2.3 } }
`,
      problems: `
3:25: ports.2: no bridge's peer "dc.rigth"; did you mean dc.right?
3:38: ports.3: no bridge's peer "lb.gw"; there are dc.left, dc.right
3:48: ports.4: no bridge's peer "app.left"; there are dc.left, dc.right
`,
    },
  ],
  objects: [
    {
      title: "objects, programs, globals and maps must be there",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
filters:
  a: { object: ../filters/blocklst.o }
  b: { object: ../filters }
  c: { object: ../filters/blocklist.c }
  d: { object: ../filters/blocklist.o, program: xdp_blocklst, globals: { default_acton: 1 }, maps: { bloked: {} } }
  e: { object: ../filters/blocklist.o, section: xdq, globals: { default_action: drop } }
  f: { object: ../filters/blocklist.o, section: xdp, program: xdp_blocklist }
`,
      problems: `
5:16: filters.a.object: filters/blocklst.o: there is no such file; check the path, which is relative to the config file
6:16: filters.b.object: filters: is not a file; name a regular file
7:16: filters.c.object: filters/blocklist.c: not an ELF object: it begins with 2f 2a 20 53; give the .o file, or build it with clang -target bpf
8:49: filters.d.program: no program "xdp_blocklst" in filters/blocklist.o; did you mean xdp_blocklist?
8:74: filters.d.globals.default_acton: no global variable "default_acton" in filters/blocklist.o; did you mean default_action?
8:102: filters.d.maps.bloked: no map "bloked" in filters/blocklist.o; did you mean blocked?
9:49: filters.e.section: no section "xdq" with a program in filters/blocklist.o; did you mean xdp?
9:81: filters.e.globals.default_action: "drop" is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1
10:40: filters.f.section: a filter names its program by program or by section, not both; remove one of the two
`,
    },
    {
      title: "a chain names programs that the object has",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: ["f:nope"], egress: ["f:xdp_blocklist"] }
filters: { f: { object: ../filters/blocklist.o } }
`,
      problems: `
4:82: listeners[0].ingress[0]: no program "nope" in filters/blocklist.o; there is xdp_blocklist
`,
    },
    {
      title: "each entry that does not parse is told",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
filters:
  a:
    object: ../filters/blocklist.o
    maps:
      blocked:
        entries:
          - { key: 203.0.113.0/33, value: 1 }
          - { key: 203.0.113.0/24, value: -1 }
          - { key: "2001:db8::/32", value: 1 }
          - { key: 10.0.0.0/8, value: 1 }
          - { key: 10.0.0.0/8, value: 2 }
          - { key: 10.0.0.1/8, value: 1 }
          - { key: { prefixlen: 40, address: 10.0.0.0 }, value: 1 }
          - { key: { prefixlen: 8, adress: 10.0.0.0 }, value: [] }
          - { value: 1 }
        file: nosuch.csv
`,
      problems: `
10:20: filters.a.maps.blocked.entries[0].key: "203.0.113.0/33" is longer than 32 bits; write a length from 0 to 32
11:43: filters.a.maps.blocked.entries[1].value: -1 does not fit __u32; write a whole number from 0 to 4294967295
12:20: filters.a.maps.blocked.entries[2].key: "2001:db8::/32" is an IPv6 prefix, and the key holds 4 address bytes; write a prefix such as 203.0.113.0/24
14:13: filters.a.maps.blocked.entries[4]: the key has another value at config/test.yaml:13:13; keep one of the two
15:20: filters.a.maps.blocked.entries[5].key: "10.0.0.1/8" has bits set beyond its length; write 10.0.0.0/8, or the address alone
16:13: filters.a.maps.blocked.entries[6]: a prefix of 40 bits is longer than the key of map blocked, which has 32; write a prefix length from 0 to 32
17:20: filters.a.maps.blocked.entries[7].key: struct ipv4_prefix has no member "adress"; its members are prefixlen, address
17:63: filters.a.maps.blocked.entries[7].value: [] is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1
18:13: filters.a.maps.blocked.entries[8]: the key is missing; add key:
19:15: filters.a.maps.blocked.file: config/nosuch.csv: there is no such file; check the path
`,
    },
    {
      title: "metrics that auto makes differ in name from all others",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
filters:
  a:
    object: ../filters/size-limit.o
    metrics: auto
  b:
    object: ../filters/blocklist.o
    metrics:
      counters:
        - { name: blocked, help: x, map: blocked_packets_total, labels: [{ name: r, size: 4, decoders: [{ name: uint }] }] }
  c: { object: ../filters/blocklist.o, metrics: auto }
  d: { expression: "udp", metrics: auto }
  e: { object: ../filters/blocklist.o, metrics: all }
`,
      problems: `
13:49: filters.c.metrics: auto makes "blocked", which collides with the metric at line 12; write the block in place of auto: metrics: { gauges: [{ name: a name of your own, map: the map's, … }] }
14:36: filters.d.metrics: auto finds nothing: there are no maps; remove it
15:49: filters.e.metrics: expected auto or a block of keys, found "all"
`,
    },
    {
      title: "metrics differ in name and fit their maps",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
filters:
  a:
    object: ../filters/blocklist.o
    metrics:
      counters:
        - { name: weir_x, help: x, map: blocked_packets_total, labels: [{ name: r, size: 4, decoders: [{ name: uint }] }] }
        - { name: blocked_packets_total, help: x, labels: [{ name: r, size: 2, decoders: [{ name: uint }] }] }
        - { name: blocked_packets_total, help: x, labels: [{ name: r, size: 4, decoders: [{ name: uint }] }] }
        - { name: other, help: x, labels: [{ name: r, size: 4, decoders: [{ name: ksym }] }] }
        - { name: fourth, help: x, labels: [{ name: r, size: 4, decoders: [{ name: uint }] }] }
`,
      problems: `
9:19: filters.a.metrics.counters[0].name: names beginning with weir_ are the proxy's own; choose another
10:11: filters.a.metrics.counters[1]: metric blocked_packets_total: its labels cover 2 bytes, and a key of map blocked_packets_total has 4; add labels, or padding to one, for the other 2
11:19: filters.a.metrics.counters[2].name: "blocked_packets_total" collides with the metric at line 10; give each metric a name of its own; map: names the map where they differ
12:83: filters.a.metrics.counters[3].labels[0].decoders[0].name: decoder ksym is not available: it needs the kernel's symbol table
13:11: filters.a.metrics.counters[4]: metric fourth: there is no map "fourth"; set map to one of blocked, blocked6, blocked_packets_total, .rodata
`,
    },
    {
      title: "memory must hold what the maps need",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
memory: 1MiB
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
filters: { a: { object: ../filters/blocklist.o } }
`,
      problems: `
3:9: memory: 1MiB is too little: 10MiB are needed, 8MiB of it for the maps of filter "a"; write at least memory: 10MiB
`,
    },
    {
      title: "memory must hold what the workers need",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
memory: 8MiB
workers: 4
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
`,
      problems: `
3:9: memory: 8MiB is too little: 10MiB are needed, 10MiB of it for 4 workers; write at least memory: 10MiB
`,
    },
  ],
};

for (const [about, configs] of Object.entries(refused))
  describe(about, () => {
    for (const { title, text, problems } of configs)
      test(title, () => {
        const lines = problems.trim().split("\n");
        expect(problemsOf(text)).toEqual(lines.map((line) => `${testFile}:${line}`));
      });
  });

import { describe, expect, test } from "vitest";
import { problemsOf, type RefusedConfig, testFile } from "./refused-config.ts";

/** By subject: configs with everything that is wrong with them, as it is printed. */
const refused: Readonly<Record<string, readonly RefusedConfig[]>> = {
  yaml: [
    {
      title: "an empty file lacks its keys",
      text: ``,
      problems: `
1:1: version is missing; add version: 1 (Version of this format)
1:1: listeners is missing; add listeners: … (Where packets come in, and which filters they pass)
`,
    },
    {
      title: "text is no config",
      text: `hello
`,
      problems: `
1:1: expected a block of keys, found "hello"; write its keys below it, indented
`,
    },
    {
      title: "a list is no config",
      text: `- a
`,
      problems: `
1:1: expected a block of keys, found a list; write its keys below it, indented
`,
    },
    {
      title: "tabs do not indent",
      text: `version: 1
	workers: 2
`,
      problems: `
2:1: not valid YAML: Tabs are not allowed as indentation
`,
    },
    {
      title: "each bracket that is not closed is told",
      text: `version: 1
listeners: [ { name: a
`,
      problems: `
3:1: not valid YAML: Flow map in block collection must be sufficiently indented and end with a }
3:1: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]
`,
    },
    {
      title: "a file is one document",
      text: `version: 1
---
version: 1
`,
      problems: `
2:1: a second document; keep one document in the file
`,
    },
    {
      title: "a key stands once in a block",
      text: `version: 1
version: 1
ports: { 2: a, 0x2: b }
`,
      problems: `
2:1: "version" stands twice in this block; remove one of them
3:16: "2" stands twice in this block; remove one of them
`,
    },
    {
      title: "tags are refused",
      text: `version: !!js/regexp 1
`,
      problems: `
1:10: not valid YAML: Unresolved tag: tag:yaml.org,2002:js/regexp
`,
    },
    {
      title: "an alias needs its anchor",
      text: `version: *nope
`,
      problems: `
1:10: no anchor &nope before this alias
`,
    },
    {
      title: "an alias cannot contain itself",
      text: `a: &a [*a]
`,
      problems: `
1:7: nested deeper than 32 levels
`,
    },
    {
      title: "a key is text or a number",
      text: `? [a, b]
: 1
true: 2
`,
      problems: `
1:3: a key that is neither text nor a number
3:1: a key that is neither text nor a number
`,
    },
  ],
  schema: [
    {
      title: "every key that is wrong is told at once",
      text: `version: 2
worker: 3
workers: many
metrics: { listen: ":9464" }
memory: 512MB
drainTimeout: 30
stateDir: /x
log: { level: inof }
upstreams:
  app: { addresses: "127.0.0.1:5353" }
  b c: { adresses: ["127.0.0.1:0", "::1:53", 5] }
  "": {}
ports: { 0: app, 3: 4 }
filters:
  f:
    objet: x
    engine: jitt
    globals: { a: null }
    maps: { m: { pin: true, entries: [ { key: 1 } ] , entrees: 3} }
    metrics:
      counters:
        - name: 9
          help: x
          labels: [ { name: rule, size: 0, decoders: [ { name: uinnt } ] } ]
      histogram: []
  g: 5
  h: { expression: "udp" }
listeners:
  - { name: dns, protocol: vxlam, listen: "0.0.0.0:70000", ingress: f , maxSessions: 0, onDrop: rest, listen2: 1}
  - name: 4
    protocol: updp
    listen: 53
    idleTimeout: 0s
    ingress: [ "a:b:c", 5 ]
    allowDestinations: ["10.0.0.1/8", x]
    proxyProtocol: { accept: maybe, trust: ["10.0.0.0/8:53"] }
`,
      problems: `
1:10: version: expected 1, found 2; write 1
2:1: worker: no such key; did you mean workers?
3:10: workers: expected a whole number from 1 to 128, or auto, found "many"
4:20: metrics.listen: ":9464" names no address; write "0.0.0.0:9464" for all IPv4 addresses, "[::]:9464" for IPv6, or "127.0.0.1:9464" for this machine only
5:9: memory: "512MB" is not a size; write a whole number and a unit: 64KiB, 512MiB or 1GiB
6:15: drainTimeout: expected a duration, found 30; for example 60s
8:15: log.level: expected trace, debug, info, warn, error, fatal or silent, found "inof"; did you mean info?
10:21: upstreams.app.addresses: expected a list, found "127.0.0.1:5353"; write [127.0.0.1:5353]
11:3: upstreams["b c"]: "b c" is not a name: letters, digits, _ and -, beginning with a letter, at most 63
11:10: upstreams["b c"].adresses: no such key; did you mean addresses?
12:3: upstreams[""]: "" is not a name: letters, digits, _ and -, beginning with a letter, at most 63
12:3: upstreams[""]: neither addresses nor echo; add addresses: ["127.0.0.1:5353"], or echo: true for the built-in echo
13:10: ports.0: a port's number is a whole number from 1 to 2147483647
13:21: ports.3: expected a name, found 4; for example app
16:5: filters.f.objet: no such key; did you mean object?
16:5: filters.f: the filter has no program; add object: FILE, expression: TEXT or bytecode: TEXT
17:13: filters.f.engine: expected interpreter or jit, found "jitt"; did you mean jit?
18:19: filters.f.globals.a: the value is missing; write a number, an address, a list or a block
19:40: filters.f.maps.m.entries[0]: value is missing; add value: … (The value, in the same forms)
19:55: filters.f.maps.m.entrees: no such key; did you mean entries?
22:17: filters.f.metrics.counters[0].name: expected a text, found 9; write "9" in quotes
24:41: filters.f.metrics.counters[0].labels[0].size: expected at least 1, found 0
24:64: filters.f.metrics.counters[0].labels[0].decoders[0].name: expected a decoder's name: uint, uint_be, int, inet_ip, string, hex, dname, static_map, regexp; did you mean uint?
25:7: filters.f.metrics.histogram: no such key; did you mean histograms?
26:6: filters.g: expected a block of keys, found 5; write its keys below it, indented
29:5: listeners[0]: upstream is missing; add upstream: app (The upstream that packets and connections go to)
29:28: listeners[0].protocol: expected udp, tcp, vxlan or geneve, found "vxlam"; did you mean vxlan?
29:43: listeners[0].listen: "0.0.0.0:70000" is not an address and port; write an IP address and a port from 0 to 65535: "127.0.0.1:5300" or "[::1]:5300"
29:69: listeners[0].ingress: expected a list, found "f"; write [f]
29:86: listeners[0].maxSessions: expected a whole number from 1 to 1000000, found 0
29:97: listeners[0].onDrop: expected reset, close or ignore, found "rest"; did you mean reset?
29:103: listeners[0].listen2: no such key; did you mean listen?
30:5: listeners[1]: upstream is missing; add upstream: app (The upstream that packets and connections go to)
30:11: listeners[1].name: expected a name, found 4; for example app
31:15: listeners[1].protocol: expected udp, tcp, vxlan or geneve, found "updp"; did you mean udp?
32:13: listeners[1].listen: expected an address and port, found 53; for example "127.0.0.1:5300"
33:18: listeners[1].idleTimeout: "0s" is no time at all; write at least 1ms
34:16: listeners[1].ingress[0]: a chain names a filter, or a program of its object as "filter:program"; for example blocklist
34:25: listeners[1].ingress[1]: expected a filter's name, found 5; for example blocklist
35:25: listeners[1].allowDestinations[0]: "10.0.0.1/8" has address bits beyond its prefix of 8; set them to zero, or write a longer prefix
35:39: listeners[1].allowDestinations[1]: "x" is not a range of addresses; write a CIDR, and a port if only that one is meant: 192.0.2.0/24, 192.0.2.0/24:53 or 2001:db8::/32:53
36:30: listeners[1].proxyProtocol.accept: expected off, optional or required, found "maybe"; write off, optional or required
36:45: listeners[1].proxyProtocol.trust[0]: "10.0.0.0/8:53" has a port; write the addresses alone: 10.0.0.0/8
`,
    },
    {
      title: "numbers and words have their bounds",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app }]
workers: 0
memory: 3GiB
drainTimeout: 1000h
log: { level: 3 }
metrics: { listen: no }
`,
      problems: `
4:10: workers: expected a whole number from 1 to 128, or auto, found 0
5:9: memory: "3GiB" is out of range; write a size from 1MiB to 2047MiB
6:15: drainTimeout: "1000h" is too long; write at most 596h
7:15: log.level: expected trace, debug, info, warn, error, fatal or silent, found 3; write trace, debug, info, warn, error, fatal or silent
8:20: metrics.listen: "no" is not an address and port; write an IP address and a port from 0 to 65535: "127.0.0.1:5300" or "[::1]:5300"
`,
    },
    {
      title: "an upstream has addresses or is the echo",
      text: `version: 1
upstreams:
  both: { echo: true, addresses: ["127.0.0.1:1"] }
  neither: {}
  silent: { echo: false }
  empty: { addresses: [] }
  twice: { addresses: ["[::1]:1", "[::1]:1"] }
  wildcard: { addresses: ["0.0.0.0:4", "[::]:4", "127.0.0.1:0", "127.1:4", "::1:4", "a b:4", "app"] }
listeners: [{ name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: both }]
`,
      problems: `
3:11: upstreams.both.echo: an upstream has addresses or is the echo, not both; remove one of the two
4:3: upstreams.neither: neither addresses nor echo; add addresses: ["127.0.0.1:5353"], or echo: true for the built-in echo
5:19: upstreams.silent.echo: expected true, found false; write true
6:23: upstreams.empty.addresses: expected at least 1 of them, found 0
7:35: upstreams.twice.addresses[1]: the same address twice; remove one of them
8:27: upstreams.wildcard.addresses[0]: "0.0.0.0:4" is no address to send to; write the address that answers, such as 127.0.0.1
8:40: upstreams.wildcard.addresses[1]: "[::]:4" is no address to send to; write the address that answers, such as 127.0.0.1
8:50: upstreams.wildcard.addresses[2]: "127.0.0.1:0" has port 0; write the port that answers
8:65: upstreams.wildcard.addresses[3]: "127.1:4" is not an address and port; write an address or a name, and a port from 1 to 65535: "127.0.0.1:5353", "[::1]:5353" or "app:5353"
8:76: upstreams.wildcard.addresses[4]: "::1:4" is ambiguous; write "[::1]:4"
8:85: upstreams.wildcard.addresses[5]: "a b:4" is not an address and port; write an address or a name, and a port from 1 to 65535: "127.0.0.1:5353", "[::1]:5353" or "app:5353"
8:94: upstreams.wildcard.addresses[6]: "app" is not an address and port; write an address or a name, and a port from 1 to 65535: "127.0.0.1:5353", "[::1]:5353" or "app:5353"
`,
    },
    {
      title: "a control API that anyone could use",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
admin: { listen: "127.0.0.1:9465" }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app }
`,
      problems: `
3:18: admin.listen: an address and port need a token; add tokenFile: and a file that holds one, or write unix: and a path
`,
    },
    {
      title: "a control API's socket without a whole path",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
admin: { listen: "unix:admin.sock" }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app }
`,
      problems: `
3:18: admin.listen: "unix:admin.sock" names no socket; write unix: and an absolute path: unix:/run/weir/admin.sock
`,
    },
    {
      title: "an upstream's options stand beside its addresses, and in their bounds",
      text: `version: 1
upstreams:
  a: { balance: client_hash }
  b: { addresses: ["127.0.0.1:1"], healthCheck: { path: /up } }
  c: { addresses: ["127.0.0.1:1"], healthCheck: { type: http, path: up }, resolveInterval: 0 }
  d: { addresses: ["127.0.0.1:1"], balance: random, ejection: { failures: -1 } }
listeners: [{ name: l, protocol: udp, listen: "127.0.0.1:2", upstream: a }]
`,
      problems: `
3:3: upstreams.a: neither addresses nor echo; add addresses: ["127.0.0.1:5353"], or echo: true for the built-in echo
4:57: upstreams.b.healthCheck.path: has no effect on a check of type tcp; remove it, or write type: http
5:69: upstreams.c.healthCheck.path: a path begins with / and has no spaces
5:92: upstreams.c.resolveInterval: expected a duration, or off, found 0; for example 30s
6:45: upstreams.d.balance: expected round_robin or client_hash, found "random"; write round_robin or client_hash
6:75: upstreams.d.ejection.failures: expected a whole number from 0 to 1000, found -1`,
    },
    {
      title: "io is one of three words, and UDP's alone",
      text: `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
listeners:
  - { name: b, protocol: udp, listen: "127.0.0.1:2", upstream: app, io: fast }
  - { name: c, protocol: tcp, listen: "127.0.0.1:2", upstream: app, io: mmsg }
`,
      problems: `
4:73: listeners[0].io: expected dgram, mmsg or auto, found "fast"; write dgram, mmsg or auto
5:69: listeners[1].io: has no effect on a tcp listener; remove it`,
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

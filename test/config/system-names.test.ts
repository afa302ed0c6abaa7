import { expect, test } from "vitest";
import { lookUpName, type NameSystem } from "../../src/config/system-names.ts";

/** A name server that has these records, and the names that it was asked for, in order. */
function serverOf(records: Readonly<Record<string, readonly string[] | string>>) {
  const asked: string[] = [];
  const answer = (type: "A" | "AAAA") => async (name: string) => {
    asked.push(type === "A" ? name : `${name} ${type}`);
    const record = records[type === "A" ? name : `${name} ${type}`];
    const code = typeof record === "string" ? record : "ENOTFOUND";
    if (record === undefined || typeof record === "string")
      throw Object.assign(new Error(code), { code });
    return [...record];
  };
  const servers = { resolve4: answer("A"), resolve6: answer("AAAA") };
  return { asked, servers: servers as NameSystem["servers"] };
}

const pod = `# As Kubernetes writes it.
search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5 edns0
`;

for (const { name, host, hosts = "", resolvConf = "", machine = "m", records = {}, ...want } of [
  {
    name: "a line of the hosts file, without a question",
    host: "App.Test",
    hosts:
      "# none\n127.0.0.7 other app.test # its\n::7 app.test\n127.0.0.8\tapp.test\nx app.test\n",
    asked: [],
    found: ["127.0.0.7", "127.0.0.8"],
  },
  {
    name: "IPv6 addresses of the hosts file where it has no others",
    host: "app",
    hosts: "::7 app",
    asked: [],
    found: ["::7"],
  },
  {
    name: "nothing that a comment of the hosts file says",
    host: "app",
    hosts: "#127.0.0.7 app\n127.0.0.7 # app",
    asked: ["app"],
    found: "ENOTFOUND",
  },
  { name: "loopback for localhost", host: "localhost", asked: [], found: ["127.0.0.1"] },
  { name: "loopback below localhost", host: "a.localhost", asked: [], found: ["127.0.0.1"] },
  {
    name: "a pod's short name by its namespace",
    host: "cart",
    resolvConf: pod,
    records: { "cart.shop.svc.cluster.local": ["10.0.0.1", "10.0.0.2"] },
    asked: ["cart.shop.svc.cluster.local"],
    found: ["10.0.0.1", "10.0.0.2"],
  },
  {
    name: "a service of another namespace, by the second domain",
    host: "dns.kube-system",
    resolvConf: pod,
    records: { "dns.kube-system.svc.cluster.local": ["10.0.0.3"] },
    asked: ["dns.kube-system.shop.svc.cluster.local", "dns.kube-system.svc.cluster.local"],
    found: ["10.0.0.3"],
  },
  {
    name: "a name with fewer dots than ndots as it is after all domains",
    host: "example.com",
    resolvConf: pod,
    records: { "example.com": ["192.0.2.1"] },
    asked: [
      "example.com.shop.svc.cluster.local",
      "example.com.svc.cluster.local",
      "example.com.cluster.local",
      "example.com",
    ],
    found: ["192.0.2.1"],
  },
  {
    name: "a name with as many dots as ndots as it is before all domains",
    host: "a.b",
    resolvConf: "search one.test",
    records: { "a.b.one.test": ["192.0.2.2"] },
    asked: ["a.b", "a.b.one.test"],
    found: ["192.0.2.2"],
  },
  {
    name: "by the last line that names domains",
    host: "a",
    resolvConf: "search one.test\ndomain two.test three.test\n",
    asked: ["a.two.test", "a"],
    found: "ENOTFOUND",
  },
  {
    name: "by the machine's own domain where no line names one",
    host: "a",
    machine: "node-1.rack.test",
    asked: ["a.rack.test", "a"],
    found: "ENOTFOUND",
  },
  {
    name: "the root domain as the name itself, once",
    host: "a",
    resolvConf: "search . one.test.",
    asked: ["a.one.test", "a"],
    found: "ENOTFOUND",
  },
  {
    name: "no name that a domain makes too long",
    host: "a",
    resolvConf: `search ${"long.".repeat(51)}`,
    asked: ["a"],
    found: "ENOTFOUND",
  },
  {
    name: "IPv6 addresses where a name has no others, before the next domain",
    host: "a",
    resolvConf: "search one.test two.test",
    records: { "a.one.test": "ENODATA", "a.one.test AAAA": ["2001:db8::1"] },
    asked: ["a.one.test", "a.one.test AAAA"],
    found: ["2001:db8::1"],
  },
  {
    name: "the next domain after a server's failure, and tells that failure",
    host: "a",
    resolvConf: "search one.test two.test",
    records: { "a.one.test": "ESERVFAIL" },
    asked: ["a.one.test", "a.two.test", "a"],
    found: "ESERVFAIL",
  },
  {
    name: "no further domain where no server answers",
    host: "a",
    resolvConf: "search one.test two.test",
    records: { "a.one.test": "ETIMEOUT" },
    asked: ["a.one.test"],
    found: "ETIMEOUT",
  },
] satisfies ({
  name: string;
  host: string;
  asked: string[];
  found: string[] | string;
  records?: Record<string, string[] | string>;
} & Partial<NameSystem>)[])
  test(`a look-up takes ${name}`, async () => {
    const { asked, servers } = serverOf(records);
    const found = lookUpName(host, { hosts, resolvConf, machine, servers }).catch(
      ({ code }: NodeJS.ErrnoException) => code,
    );
    expect(await found).toEqual(want.found);
    expect(asked).toEqual(want.asked);
  });

test("this machine's own hosts file is read", async () => {
  expect(await lookUpName("localhost")).toEqual(["127.0.0.1"]);
});

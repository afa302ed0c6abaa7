import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterAll, afterEach, expect, test } from "vitest";
import { health } from "../../src/cli/health.ts";
import { startWeir, temporaryFolder, weir } from "../support/processes.ts";

const place = temporaryFolder();
const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

afterAll(() => place.remove());

/** Something that answers every connection with `text`; undefined: it never answers. */
async function answering(text: string | undefined, at: string | number = 0): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    if (text !== undefined) socket.once("data", () => socket.end(text));
  });
  open.push(server);
  if (typeof at === "string") server.listen(at);
  else server.listen(at, "127.0.0.1");
  await once(server, "listening");
  return typeof at === "string" ? 0 : (server.address() as AddressInfo).port;
}

async function asked(
  environment: Record<string, string>,
  json = false,
): Promise<{ code: number; error: string; printed: string }> {
  const said = { error: "", printed: "" };
  const terminal = {
    environment: { XDG_RUNTIME_DIR: place.path, ...environment },
    error: (text: string) => {
      said.error += text;
    },
    out: (text: string) => {
      said.printed += text;
    },
  };
  const code = await health(terminal, { json });
  return { code, ...said };
}

const live = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

test("a proxy that answers on its control socket is alive, whatever its metrics do", async () => {
  const path = `${place.path}/a.sock`;
  await answering(live, path);
  const environment = { WEIR_ADMIN_LISTEN: `unix:${path}`, WEIR_METRICS_LISTEN: "off" };
  expect(await asked(environment)).toEqual({ code: 0, error: "", printed: "" });
});

for (const { listen, admin } of [
  { listen: "127.0.0.1", admin: "off" },
  { listen: "0.0.0.0", admin: "127.0.0.1:1" },
  { listen: "[::]", admin: "off" },
])
  test(`without a control socket, /live at ${listen} is asked (admin ${admin})`, async () => {
    const port = await answering(live);
    const environment = { WEIR_ADMIN_LISTEN: admin, WEIR_METRICS_LISTEN: `${listen}:${port}` };
    expect(await asked(environment)).toEqual({ code: 0, error: "", printed: "" });
  });

test("what a proxy's wildcard of one family takes is found by that of the other", async () => {
  const server = createServer((socket) => socket.once("data", () => socket.end(live)));
  open.push(server);
  server.listen({ host: "::1", port: 0, ipv6Only: true });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const environment = { WEIR_ADMIN_LISTEN: "off", WEIR_METRICS_LISTEN: `0.0.0.0:${port}` };
  expect(await asked(environment)).toEqual({ code: 0, error: "", printed: "" });
  server.close();
  await once(server, "close");
  const { code, error } = await asked(environment);
  expect(code).toBe(1);
  expect(error).toContain(`(0.0.0.0:${port}: ECONNREFUSED)`);
});

for (const { name, text, failure } of [
  { name: "a refusal", text: "HTTP/1.1 503 no\r\n\r\n", failure: "status 503" },
  { name: "no HTTP", text: "SSH-2.0\r\n", failure: "not a proxy's answer" },
  { name: "an end without a word", text: "", failure: "broke the connection off" },
  { name: "endless text", text: "x".repeat(100_000), failure: "not a proxy's answer" },
  { name: "silence", text: undefined, failure: "no answer" },
])
  test(`${name} is no sign of life`, async () => {
    const port = await answering(text);
    const { code, error } = await asked({ WEIR_METRICS_LISTEN: `127.0.0.1:${port}` });
    expect(code).toBe(1);
    expect(error).toContain(`127.0.0.1:${port}: ${failure}`);
    expect(error).toContain("admin.sock: ENOENT");
  });

for (const { name, environment, told } of [
  {
    name: "a value that is no address",
    environment: { WEIR_ADMIN_LISTEN: "off", WEIR_METRICS_LISTEN: "junk" },
    told: 'WEIR_METRICS_LISTEN is "junk": not HOST:PORT or off',
  },
  {
    name: "a port that there is not",
    environment: { WEIR_ADMIN_LISTEN: "/run/x", WEIR_METRICS_LISTEN: "127.0.0.1:65536" },
    told: 'WEIR_ADMIN_LISTEN is "/run/x": write unix:/run/x for a socket there; WEIR_METRICS_LISTEN is "127.0.0.1:65536": not HOST:PORT or off',
  },
  {
    name: "that nothing is left to ask",
    environment: { WEIR_ADMIN_LISTEN: "off", WEIR_METRICS_LISTEN: "off" },
    told: "leave nothing to ask; set one of them to unix:PATH or HOST:PORT, or do without this check",
  },
  {
    name: "the default control socket where the variable is empty",
    environment: { WEIR_ADMIN_LISTEN: "", WEIR_METRICS_LISTEN: "off" },
    told: "admin.sock: ENOENT)",
  },
  {
    name: "the default address of metrics where the variable is empty",
    environment: { WEIR_ADMIN_LISTEN: "off", WEIR_METRICS_LISTEN: "" },
    told: "(127.0.0.1:9464: ",
  },
])
  test(`the command says ${name}`, async () => {
    const { code, error } = await asked(environment);
    expect(code).toBe(1);
    expect(error).toContain(told);
  });

test("the command finds a proxy that runs, and none where none does", async () => {
  const config = `version: 1
metrics: { listen: off }
admin: { listen: "unix:${place.path}/b.sock" }
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app }]
`;
  const before = process.env.WEIR_ADMIN_LISTEN;
  process.env.WEIR_ADMIN_LISTEN = `unix:${place.path}/b.sock`;
  process.env.WEIR_METRICS_LISTEN = "off";
  try {
    const running = await startWeir(place, config);
    expect(await weir(["health"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
    await running.stop();
    expect(await weir(["health"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no proxy lives here"),
    });
  } finally {
    if (before === undefined) delete process.env.WEIR_ADMIN_LISTEN;
    else process.env.WEIR_ADMIN_LISTEN = before;
    delete process.env.WEIR_METRICS_LISTEN;
  }
});

test("with --json an object says where a proxy lives, or what was asked in vain", async () => {
  const path = `${place.path}/json.sock`;
  const environment = { WEIR_ADMIN_LISTEN: `unix:${path}`, WEIR_METRICS_LISTEN: "off" };
  const none = await asked(environment, true);
  expect(none).toMatchObject({ code: 1, error: expect.stringContaining("no proxy lives here") });
  expect(JSON.parse(none.printed)).toEqual({ lives: false, asked: [`unix:${path}: ENOENT`] });
  await answering(live, path);
  const { printed, ...others } = await asked(environment, true);
  expect(others).toEqual({ code: 0, error: "" });
  expect(JSON.parse(printed)).toEqual({ lives: true, address: `unix:${path}` });
});

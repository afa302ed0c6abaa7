import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Executable } from "../../src/engine/engine.ts";
import { Workbench } from "../../src/filter/workbench.ts";
import { formatTyped, parseTyped } from "../../src/maps/typed.ts";
import { setGlobal } from "../../src/object/globals.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { type Endpoint, Flow } from "../../src/packet/flow.ts";
import {
  type TcpSegment,
  tcpHeaderBytes,
  writeTcpFrame,
  writeUdpFrame,
} from "../../src/packet/synthesis.ts";
import { tcpFlags } from "../../src/packet/tcp.ts";

/** What a test sets, in the words of a config. */
export interface Settings {
  readonly globals?: Readonly<Record<string, unknown>>;
  readonly maps?: Readonly<Record<string, readonly { key: unknown; value: unknown }[]>>;
}

/** A filter off the wire, with a clock that stands still until it is moved. */
export interface FilterBench {
  /** The verdict on a frame, and what a fault would say. */
  judge(frame: Uint8Array, program?: string): string;
  /** Entries by key as a config writes them; per-CPU values of one CPU. */
  entries(map: string): Record<string, unknown>;
  pass(seconds: number): void;
}

export function openFilter(name: string, settings: Settings = {}): Promise<FilterBench> {
  return openObject(fileURLToPath(new URL(`../../filters/${name}.o`, import.meta.url)), settings);
}

/** The same of any object. */
export async function openObject(file: string, settings: Settings = {}): Promise<FilterBench> {
  let nowNs = 5_000_000_000_000n;
  const bench = value(await Workbench.create({ nowNs: () => nowNs }));
  let object = value(loadObject(readFileSync(file), file));
  for (const [global, written] of Object.entries(settings.globals ?? {}))
    object = value(setGlobal(object, global, written));
  const { btf } = object;
  const maps = value(bench.createMaps(object.maps));
  const mapNamed = (wanted: string) => {
    const index = object.maps.findIndex((map) => map.name === wanted);
    if (index < 0) throw new Error(`no map ${wanted}`);
    return { spec: object.maps[index]!, access: bench.access(maps[index]!) };
  };
  for (const [map, entries] of Object.entries(settings.maps ?? {})) {
    const { spec, access } = mapNamed(map);
    for (const entry of entries) {
      const key = value(parseTyped(btf, spec.keyType, spec.keySize, entry.key));
      const set = access.update(
        key,
        value(parseTyped(btf, spec.valueType, spec.valueSize, entry.value)),
      );
      if (set !== 0) throw new Error(`map ${map} refused an entry: ${set}`);
    }
  }
  const executables = new Map<string, Executable>(
    object.programs.map((program) => [
      program.name,
      value(bench.prepare(program, maps, program.type, "interpreter", { object })),
    ]),
  );
  return {
    judge(frame, program) {
      const executable =
        program === undefined ? [...executables.values()][0]! : executables.get(program)!;
      const { verdict, fault } = value(bench.run(executable, frame));
      return fault === undefined ? verdict!.kind : `fault: ${fault.message}`;
    },
    entries(map) {
      const { spec, access } = mapNamed(map);
      return Object.fromEntries(
        [...access.entries()].map((entry) => {
          const key = formatTyped(btf, spec.keyType, entry.key);
          return [
            typeof key === "object" ? JSON.stringify(key) : String(key),
            formatTyped(btf, spec.valueType, entry.values[0]!),
          ];
        }),
      );
    },
    pass(seconds) {
      nowNs += BigInt(Math.round(seconds * 1e9));
    },
  };
}

function value<T>(result: { ok: true; value: T } | { ok: false; error: Error }): T {
  if (!result.ok) throw result.error;
  return result.value;
}

/** "192.0.2.1:53" or "[2001:db8::1]:53". */
function endpoint(text: string): Endpoint {
  const [, six, four, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  return { address: (six ?? four)!, port: Number(port) };
}

export function udpFrame(from: string, to: string, payload: Uint8Array | string | number): Buffer {
  const flow = new Flow("udp", endpoint(from), endpoint(to));
  const bytes = typeof payload === "number" ? Buffer.alloc(payload, "x") : Buffer.from(payload);
  const frame = Buffer.alloc(flow.headerBytes + bytes.length);
  frame.set(bytes, flow.headerBytes);
  writeUdpFrame(frame, 0, flow, bytes.length);
  return frame;
}

export function tcpFrame(
  from: string,
  to: string,
  segment: Partial<TcpSegment> = {},
  payloadBytes = 0,
  flow = new Flow("tcp", endpoint(from), endpoint(to)),
): Buffer {
  const whole = { sequence: 1, acknowledgement: 0, flags: tcpFlags.ack, window: 9, ...segment };
  const frame = Buffer.alloc(tcpHeaderBytes(flow, whole) + payloadBytes, "x");
  writeTcpFrame(frame, 0, flow, whole, payloadBytes);
  return frame;
}

/**
 * An IPv6 frame with headers put between IPv6's and the next: each the bytes of an extension header,
 * whose first byte is replaced by what follows it.
 */
export function withExtensions(
  frame: Buffer,
  ...extensions: readonly { number: number; bytes: readonly number[] }[]
): Buffer {
  const networkEnd = 14 + 40;
  const transport = frame[14 + 6]!;
  const numbers = [...extensions.map(({ number }) => number), transport];
  const headers = extensions.map(({ bytes }, i) =>
    Buffer.from([numbers[i + 1]!, ...bytes.slice(1)]),
  );
  const longer = Buffer.concat([
    frame.subarray(0, networkEnd),
    ...headers,
    frame.subarray(networkEnd),
  ]);
  longer[14 + 6] = numbers[0]!;
  longer.writeUInt16BE(longer.length - networkEnd, 14 + 4);
  return longer;
}

/** A DNS message with one question. `type`: 1 A, 255 ANY. RFC 1035 section 4.1. */
export function dnsMessage(
  id: number,
  name: string,
  {
    type = 1,
    response = false,
    rcode = 0,
    questions = 1,
    opcode = 0,
  }: {
    type?: number;
    response?: boolean;
    rcode?: number;
    questions?: number;
    opcode?: number;
  } = {},
): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE((response ? 0x8000 : 0) | (opcode << 11) | 0x0100 | rcode, 2);
  header.writeUInt16BE(questions, 4);
  const labels = name === "" ? [] : name.split(".");
  const question = Buffer.concat([
    ...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0, type >> 8, type & 255, 0, 1]),
  ]);
  return questions === 0 ? header : Buffer.concat([header, question]);
}

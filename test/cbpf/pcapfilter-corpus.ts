import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ClassicPacket } from "../../src/cbpf/interpreter.ts";
import { type LinkType, linkTypeByNumber, linkTypes } from "../../src/cbpf/link-type.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";

/** Libpcap's answers, beside the project; undefined where they are not there. */
export const answers = corpus("pcapfilter");
export const captures = corpus("pcap");

/** A line of `code.expected`: a listing as rows of numbers, or the error; by version where they differ. */
type Listing = readonly (readonly number[])[] | { readonly error: string };
export interface CodeAnswer {
  readonly expr: string;
  readonly DLT: string;
  readonly [key: string]: Listing | string;
}

export interface AcceptAnswer {
  readonly DLT: string;
  readonly aliases: readonly string[];
  readonly opt: readonly string[] | null;
  readonly unopt: readonly string[];
  readonly snaplen?: number;
  readonly linuxext?: number;
  readonly needs?: unknown;
}

export interface MatchAnswer {
  readonly expr: string;
  readonly match: Readonly<Record<string, readonly number[]>>;
  readonly error_files: readonly string[];
  readonly versions_differ: Readonly<Record<string, readonly number[] | "error">>;
}

export interface TestRun {
  readonly accept: readonly AcceptAnswer[];
  readonly apply: readonly {
    readonly savefile: string;
    readonly expr: string;
    readonly results: readonly number[];
  }[];
  readonly reject: readonly { readonly DLT?: string; readonly expr?: string }[];
}

export function readAnswers(name: string): string {
  return readFileSync(join(answers!, name), "utf8");
}

export function isLinkType(name: string | undefined): name is LinkType {
  return (linkTypes as readonly string[]).includes(name ?? "");
}

export interface Capture {
  readonly packets: readonly ClassicPacket[];
  /** Undefined for link types that expressions are not compiled for. */
  readonly linkType: LinkType | undefined;
}

const read = new Map<string, Capture>();

/**
 * A capture file of the corpus, by its name; undefined if it is not there. One name is in several
 * folders: the first counts.
 */
export function capture(
  name: string,
  folders: readonly string[] = ["tcpdump", "libpcap", "."],
): Capture | undefined {
  const key = join(folders[0]!, name);
  const known = read.get(key);
  if (known !== undefined) return known;
  const file = folders
    .map((folder) => join(captures!, folder, name))
    .find((path) => existsSync(path));
  if (file === undefined) return undefined;
  const packets: ClassicPacket[] = [];
  let number = -1;
  try {
    for (const packet of readCaptureBytes(readFileSync(file), name)) {
      number = packet.linkType;
      packets.push({ data: packet.data, length: packet.originalLength });
    }
  } catch {
    // Some captures are broken on purpose: the packets before that count.
  }
  const linkType = linkTypeByNumber(number);
  const result = { packets, linkType: linkType.ok ? linkType.value : undefined };
  read.set(key, result);
  return result;
}

/** Numbers of the packets that a program matches. */
export function matches(
  run: (packet: ClassicPacket) => number,
  packets: readonly ClassicPacket[],
): number[] {
  return packets.flatMap((packet, i) => (run(packet) === 0 ? [] : [i]));
}

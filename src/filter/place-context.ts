import { inspect, types } from "node:util";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { fillSocketContext, hasSocketContext, skb } from "../engine/socket-context.ts";
import type { ProgramType } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  SLOT_DATA,
  SLOT_DATA_META,
  SLOT_INGRESS_IFINDEX,
  SLOT_RX_QUEUE_INDEX,
  SLOT_SKB,
} from "../runtime/wasm/layout.ts";
import type { PacketContext, SkbContext } from "./packet-context.ts";

const cbWords = 5;
/** Longest metadata: the headroom of 256 bytes less what the kernel's struct xdp_frame takes of it. */
const maxMetadataBytes = 216;
/** Kernel: GSO_LEGACY_MAX_SIZE, the most that test runs take. */
const maxWireLength = 65_536;

/** 32-bit fields of a `__sk_buff` that a test run may set, and the largest value of each. */
const skbNumbers = [
  ["ingressIfindex", skb.ingressIfindex, 0xffff_ffff],
  ["mark", skb.mark, 0xffff_ffff],
  ["priority", skb.priority, 0xffff_ffff],
  ["wireLength", skb.wireLength, maxWireLength],
  ["gsoSegments", skb.gsoSegments, 0xffff],
  ["gsoSize", skb.gsoSize, 0xffff],
] as const;
const skbTimes = [
  ["tstamp", skb.timestamp],
  ["hwtstamp", skb.hardwareTimestamp],
] as const;
const xdpFields: readonly string[] = ["ifindex", "rxQueueIndex", "metadata"];
const skbFields: readonly string[] = [
  "ifindex",
  "cb",
  ...skbNumbers.map(([name]) => name),
  ...skbTimes.map(([name]) => name),
];

/** Describes the packet that was just placed in `slot` as `context` says. */
export function placeContext(
  { view, words, bytes }: Arena,
  slot: number,
  type: ProgramType,
  context: PacketContext,
): Result<undefined, UserError> {
  const given = Object.entries(context).filter(([, value]) => value !== undefined);
  const known = hasSocketContext(type) ? skbFields : xdpFields;
  for (const [name] of given)
    if (!known.includes(name))
      return refuse(
        name,
        `programs of type ${type} have none in their context`,
        `set some of ${known.join(", ")}`,
      );
  const { ifindex, rxQueueIndex, metadata, cb } = context;
  const wrong =
    refusedNumber("ifindex", ifindex, 0xffff_ffff) ??
    refusedNumber("rxQueueIndex", rxQueueIndex, 0xffff_ffff);
  if (wrong !== undefined) return err(wrong);
  if (ifindex !== undefined) words[(slot + SLOT_INGRESS_IFINDEX) >> 2] = ifindex;
  if (rxQueueIndex !== undefined) words[(slot + SLOT_RX_QUEUE_INDEX) >> 2] = rxQueueIndex;
  if (metadata !== undefined) {
    if (!types.isUint8Array(metadata)) return refuse("metadata", "is no Uint8Array", "give bytes");
    if (metadata.length % 4 !== 0 || metadata.length > maxMetadataBytes)
      return refuse(
        "metadata",
        `${metadata.length} bytes`,
        `give a multiple of 4, at most ${maxMetadataBytes}`,
      );
    const start = words[(slot + SLOT_DATA) >> 2]! - metadata.length;
    bytes.set(metadata, start);
    words[(slot + SLOT_DATA_META) >> 2] = start;
  }
  if (!hasSocketContext(type)) return ok(undefined);
  // Once it is filled in, a run leaves alone what is set below.
  fillSocketContext(view, words, slot, type);
  const at = slot + SLOT_SKB;
  const length = view.getUint32(at + skb.len, true);
  for (const [name, offset, most] of skbNumbers) {
    const value = context[name];
    if (value === undefined) continue;
    const refused = refusedNumber(name, value, most, name === "wireLength" ? length : 0);
    if (refused !== undefined) return err(refused);
    view.setUint32(at + offset, value, true);
  }
  for (const [name, offset] of skbTimes) {
    const value = context[name];
    if (value === undefined) continue;
    if (typeof value !== "bigint" || value !== BigInt.asUintN(64, value))
      return refuse(name, `${value} is no unsigned 64-bit number`, "give a bigint such as 1n");
    view.setBigUint64(at + offset, value, true);
  }
  if (cb === undefined) return ok(undefined);
  if (!Array.isArray(cb))
    return refuse("cb", "is no array", `give one of at most ${cbWords} words`);
  if (cb.length > cbWords) return refuse("cb", `${cb.length} words`, `give at most ${cbWords}`);
  for (const [i, word] of cb.entries()) {
    const refused = refusedNumber(`cb[${i}]`, word, 0xffff_ffff);
    if (refused !== undefined) return err(refused);
    view.setUint32(at + skb.cb + i * 4, word, true);
  }
  return ok(undefined);
}

/** What the program that just ran on the packet in `slot` left in its `__sk_buff`. */
export function readContext({ view }: Arena, slot: number): SkbContext {
  const word = (offset: number): number => view.getUint32(slot + SLOT_SKB + offset, true);
  return {
    mark: word(skb.mark),
    priority: word(skb.priority),
    queueMapping: word(skb.queueMapping),
    tcIndex: word(skb.tcIndex),
    tcClassid: word(skb.tcClassid),
    cb: Array.from({ length: cbWords }, (_, i) => word(skb.cb + i * 4)),
    tstamp: view.getBigUint64(slot + SLOT_SKB + skb.timestamp, true),
    packetType: word(skb.packetType),
    ...(word(skb.vlanPresent) !== 0 && {
      vlan: {
        protocol: view.getUint16(slot + SLOT_SKB + skb.vlanProtocol),
        tci: word(skb.vlanTci),
      },
    }),
  };
}

function refusedNumber(
  name: string,
  value: number | undefined,
  most: number,
  least = 0,
): UserError | undefined {
  if (value === undefined) return undefined;
  if (Number.isInteger(value) && value >= least && value <= most) return undefined;
  return problem(
    name,
    `${inspect(value)} does not fit`,
    `give a whole number from ${least} to ${most}`,
  );
}

function problem(name: string, what: string, fix: string): UserError {
  return new UserError("CONTEXT_VALUE", `ctx.${name}`, what, fix);
}

function refuse(name: string, what: string, fix: string): Result<undefined, UserError> {
  return err(problem(name, what, fix));
}

import { errno } from "../../common/errno.ts";
import { protocolAt, skb } from "../socket-context.ts";
import { type Helper, type HelperRun, R2, R3, tcTypes } from "./helper.ts";
import {
  contextWord,
  frameChanged,
  frameLength,
  frameStart,
  insertBytes,
  maxFrameBytes,
  networkOffset,
  protocolOf,
  removeBytes,
  setContextWord,
  setNetworkOffset,
  setProtocol,
} from "./skb-frame.ts";

const ETH_P_8021Q = 0x8100;
const ETH_P_8021AD = 0x88a8;
const ethernetHeaderBytes = 14;
/** Two MAC addresses stand in front of a tag. */
const tagOffset = 12;
const tagBytes = 4;

/**
 * VLAN tags. As in the kernel a packet's outermost tag is beside its bytes (`skb->vlan_tci`), and
 * only the ones below are among them: net/core/skbuff.c, skb_vlan_push and skb_vlan_pop.
 */
export const vlanHelpers: readonly Helper[] = [
  {
    id: 18,
    name: "skb_vlan_push",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: push,
  },
  {
    id: 19,
    name: "skb_vlan_pop",
    arguments: ["context"],
    types: tcTypes,
    movesPacket: true,
    call: pop,
  },
];

/** r2: the tag's protocol in network order; any that is none means 802.1Q. r3: the tag itself. */
function push(run: HelperRun): number {
  const { registers } = run;
  const written = registers[R2]!;
  const asked = ((written & 0xff) << 8) | ((written >>> 8) & 0xff);
  if (hasTag(run)) {
    if (frameLength(run) + tagBytes > maxFrameBytes) return -errno.ENOMEM;
    const { protocol, tci } = tagBeside(run);
    insertBytes(run, tagOffset, tagBytes);
    const { view } = run.context.arena;
    const at = frameStart(run) + tagOffset;
    view.setUint16(at, protocol);
    view.setUint16(at + 2, tci);
    setProtocol(run, protocol);
  }
  putTagBeside(run, isTagProtocol(asked) ? asked : ETH_P_8021Q, registers[R3]! & 0xffff);
  frameChanged(run);
  return 0;
}

function pop(run: HelperRun): number {
  if (hasTag(run)) setContextWord(run, skb.vlanPresent, 0);
  else {
    if (!isTagProtocol(protocolOf(run))) return changed(run, 0);
    if (takeTagOut(run) === undefined) return changed(run, -errno.ENOMEM);
  }
  setContextWord(run, skb.vlanTci, 0);
  setContextWord(run, skb.vlanProtocol, 0);
  const protocol = protocolOf(run);
  if (!isTagProtocol(protocol)) return changed(run, 0);
  // The next tag takes the place of the one that is gone.
  const tci = takeTagOut(run);
  if (tci === undefined) return changed(run, -errno.ENOMEM);
  putTagBeside(run, protocol, tci);
  return changed(run, 0);
}

function changed(run: HelperRun, result: number): number {
  frameChanged(run);
  return result;
}

/** Takes the first tag out of the bytes; undefined where there are too few. */
function takeTagOut(run: HelperRun): number | undefined {
  if (frameLength(run) < ethernetHeaderBytes + tagBytes) return undefined;
  const { view } = run.context.arena;
  const tci = view.getUint16(frameStart(run) + ethernetHeaderBytes);
  const network = networkOffset(run);
  removeBytes(run, tagOffset, tagBytes);
  const start = frameStart(run);
  setProtocol(run, protocolAt(view, start + tagOffset, start + frameLength(run)));
  // The network header stays the bytes it was, unless that was the tag itself.
  setNetworkOffset(run, Math.max(network - tagBytes, ethernetHeaderBytes));
  return tci;
}

/** Whether a VLAN's tag follows an EtherType. */
export function isTagProtocol(protocol: number): boolean {
  return protocol === ETH_P_8021Q || protocol === ETH_P_8021AD;
}

/** Whether a tag is beside the packet's bytes. */
function hasTag(run: HelperRun): boolean {
  return contextWord(run, skb.vlanPresent) !== 0;
}

function tagBeside(run: HelperRun): { readonly protocol: number; readonly tci: number } {
  const protocol = contextWord(run, skb.vlanProtocol);
  return {
    protocol: ((protocol & 0xff) << 8) | (protocol >>> 8),
    tci: contextWord(run, skb.vlanTci),
  };
}

function putTagBeside(run: HelperRun, protocol: number, tci: number): void {
  setContextWord(run, skb.vlanPresent, 1);
  setContextWord(run, skb.vlanTci, tci);
  setContextWord(run, skb.vlanProtocol, ((protocol & 0xff) << 8) | (protocol >>> 8));
}

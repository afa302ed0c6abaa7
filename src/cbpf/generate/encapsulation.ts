import { ancillary, ancillaryBase } from "../ancillary.ts";
import { statement } from "../block.ts";
import type { EncapsulationHeader, HeaderId } from "../expression/ast.ts";
import { aluOp, code, opClass, size } from "../opcode.ts";
import type { Context, HeaderOffset } from "./context.ts";
import { etherType, pppMpls } from "./ether-types.ts";
import { and, choose, type Fragment, or, test } from "./fragment.ts";
import { geneveTest } from "./geneve.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { compare } from "./load.ts";

const maxVlan = 0x0fff;

/** What is given after each keyword: VLAN, label, session or network. */
const maxIds: Readonly<
  Record<EncapsulationHeader, { readonly what: string; readonly most: number }>
> = {
  vlan: { what: "VLAN", most: maxVlan },
  mpls: { what: "MPLS label", most: 0xf_ffff },
  pppoes: { what: "PPPoE session", most: 0xffff },
  geneve: { what: "GENEVE network", most: 0xff_ffff },
};

/** A header that the rest of the expression looks behind. */
export function encapsulationTest(
  context: Context,
  header: EncapsulationHeader,
  given: HeaderId | undefined,
): Fragment {
  const id = given?.value;
  if (given !== undefined && given.value > maxIds[header].most) {
    context.at = given.at;
    const { what, most } = maxIds[header];
    return context.refuse("EXPRESSION_VALUE", `${what} ${id}`, `at most ${most}`);
  }
  switch (header) {
    case "vlan":
      return vlanTest(context, id);
    case "mpls":
      return mplsTest(context, id);
    case "pppoes":
      return pppoeTest(context, id);
    case "geneve":
      return geneveTest(context, id);
  }
}

const vlanTagBytes = 4;

/** An IEEE 802.1Q or 802.1ad tag. */
function vlanTest(context: Context, id: number | undefined): Fragment {
  if (context.mplsLabels > 0)
    return context.refuse("EXPRESSION_MEANING", "no VLAN tags can be found behind MPLS labels");
  if (context.linkType !== "EN10MB")
    return context.refuse("EXPRESSION_LINK_TYPE", `${context.linkType} frames have no VLAN tags`);
  const { linkHeader, options } = context;
  const isOutermost =
    context.vlanTags === 0 && linkHeader.register === undefined && linkHeader.constant === 0;
  const result =
    isOutermost && options.linuxExtensions
      ? vlanInOrBesideFrame(context, id)
      : vlanInFrame(context, id);
  context.vlanTags++;
  return result;
}

function hasVlanType(context: Context): Fragment {
  const customer = linkTypeTest(context, etherType.vlan);
  const service = or(customer, linkTypeTest(context, etherType.serviceVlan));
  return or(service, linkTypeTest(context, etherType.oldServiceVlan));
}

function vlanIdTest(context: Context, id: number): Fragment {
  return compare(context, "network", 0, size.half, id, { mask: maxVlan });
}

function vlanInFrame(context: Context, id: number | undefined): Fragment {
  const hasTag = hasVlanType(context);
  const result = id === undefined ? hasTag : and(hasTag, vlanIdTest(context, id));
  context.linkPayload = moved(context.linkPayload, vlanTagBytes);
  // Only Ethernet comes here, and it has a type field.
  context.linkTypeField = moved(context.linkTypeField!, vlanTagBytes);
  return result;
}

function moved(offset: HeaderOffset, by: number): HeaderOffset {
  return { ...offset, constant: offset.constant + by };
}

/**
 * Network cards take the outermost tag out of the frame, and Linux keeps it beside. Where it is
 * still in the frame, all that follows is 4 bytes further: two registers hold 0 or 4.
 */
function vlanInOrBesideFrame(context: Context, id: number | undefined): Fragment {
  const hasBeside = (): Fragment =>
    test([loadAncillary(ancillary.vlanTagPresent)], code.jumpEqual, 1);
  const inFrame = hasVlanType(context);
  const idInFrame = id === undefined ? undefined : vlanIdTest(context, id);
  const payload = context.allocateRegister();
  const type = context.allocateRegister();
  context.linkPayload = { ...context.linkPayload, register: payload };
  context.linkTypeField = { ...context.linkTypeField!, register: type };
  context.vlanRegisters = [payload, type];
  const add = opClass.alu | aluOp.add;
  inFrame.entry.statements.unshift(
    ...context.vlanRegisters.flatMap((register) => [
      statement(code.loadMemory, register),
      statement(add, vlanTagBytes),
      statement(code.store, register),
    ]),
  );
  const hasTag = or(hasBeside(), inFrame);
  if (idInFrame === undefined) return hasTag;
  const tag = [loadAncillary(ancillary.vlanTag), statement(opClass.alu | aluOp.and, maxVlan)];
  const idBeside = test(tag, code.jumpEqual, id!);
  return and(hasTag, choose(hasBeside(), idBeside, idInFrame));
}

export function loadAncillary(
  offset: (typeof ancillary)[keyof typeof ancillary],
  width: typeof size.byte | typeof size.half | typeof size.word = size.byte,
): ReturnType<typeof statement> {
  return statement(code.loadAbsolute | width, ancillaryBase + offset);
}

const labelBytes = 4;

/** An MPLS label. RFC 3032 §2.1. */
function mplsTest(context: Context, label: number | undefined): Fragment {
  let isMpls: Fragment;
  if (context.mplsLabels > 0)
    // The label before must not be the bottom of the stack.
    isMpls = compare(context, "previous_label", 2, size.byte, 0, { mask: 0x01 });
  else if (context.linkType === "EN10MB") isMpls = linkTypeTest(context, etherType.mpls);
  else if (context.linkType === "PPP") isMpls = linkTypeTest(context, pppMpls);
  else
    return context.refuse("EXPRESSION_LINK_TYPE", `${context.linkType} frames have no MPLS labels`);
  if (label !== undefined) {
    const mask = 0xffff_f000;
    isMpls = and(isMpls, compare(context, "network", 0, size.word, label << 12, { mask }));
  }
  context.network += labelBytes;
  context.networkWithoutSnap += labelBytes;
  context.mplsLabels++;
  return isMpls;
}

/** PPPoE's header before the PPP protocol number, and that number. RFC 2516 §4. */
const pppoeHeaderBytes = 6;
const pppProtocolBytes = 2;

/** A PPPoE session; PPP is what follows. */
function pppoeTest(context: Context, session: number | undefined): Fragment {
  let isSession = linkTypeTest(context, etherType.pppoeSession);
  if (session !== undefined) {
    const mask = 0x0000_ffff;
    isSession = and(isSession, compare(context, "network", 0, size.word, session, { mask }));
  }
  const { linkPayload, network } = context;
  context.linkType = "PPP";
  context.linkHeader = moved(linkPayload, network + pppoeHeaderBytes);
  context.linkTypeField = context.linkHeader;
  context.linkPayload = moved(context.linkHeader, pppProtocolBytes);
  context.network = 0;
  context.networkWithoutSnap = 0;
  context.insideGeneve = false;
  return isSession;
}

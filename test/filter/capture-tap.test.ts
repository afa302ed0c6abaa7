import { expect, test } from "vitest";
import { compileExpression } from "../../src/cbpf/compile-expression.ts";
import { describeFrame, frameOffset } from "../../src/engine/packet-slot.ts";
import { CaptureReader } from "../../src/filter/capture-ring.ts";
import { CaptureTap } from "../../src/filter/capture-tap.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { orderOf } from "./capture-order.ts";

const arena = Arena.create(1024 * 1024);
if (!arena.ok) throw arena.error;
const slot = arena.value.allocate(SLOT_BYTES, "slot");
if (!slot.ok) throw slot.error;

/** An Ethernet frame of 60 bytes with a VLAN tag, if asked for, in front of IPv4. */
function frame(tag: boolean): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set(tag ? [0x81, 0x00, 0x00, 0x05, 0x08, 0x00] : [0x08, 0x00], 12);
  return bytes;
}

for (const { expression, direction, tag = false, wanted } of [
  { expression: "outbound", direction: "egress", wanted: true },
  { expression: "outbound", direction: "ingress", wanted: false },
  { expression: "inbound", direction: "ingress", wanted: true },
  { expression: "inbound", direction: "egress", wanted: false },
  { expression: "ifindex 1007", direction: "ingress", wanted: true },
  { expression: "ifindex 1008", direction: "ingress", wanted: false },
  { expression: "vlan 5 and ip", direction: "ingress", tag: true, wanted: true },
  { expression: "vlan 5", direction: "ingress", wanted: false },
  { expression: "not vlan and ip", direction: "ingress", wanted: false },
] as const)
  test(`a capture of "${expression}" ${wanted ? "takes" : "leaves"} ${direction}${tag ? " with a tag" : ""}`, () => {
    const compiled = compileExpression(expression, {
      linkType: "EN10MB",
      linuxExtensions: true,
      maxChainedHeaders: 8,
    });
    if (!compiled.ok) throw compiled.error;
    const tap = new CaptureTap(arena.value, 0, () => 0);
    tap.start(orderOf({ expression: compiled.value }));
    const bytes = frame(tag);
    arena.value.bytes.set(bytes, slot.value + frameOffset);
    describeFrame(arena.value, slot.value, bytes.length, 1007, 0);
    expect(tap.begin(slot.value, { listener: "web", direction })).toBe(wanted);
  });

test("a capture that is begun twice records each packet once, and ends at once", () => {
  const tap = new CaptureTap(arena.value, 0, () => 0);
  const order = orderOf();
  const reader = new CaptureReader(order.rings[0]!);
  const place = { listener: "web", direction: "ingress" } as const;
  tap.start(order);
  tap.start({ ...order });
  tap.refused(frame(false), 1007, place, "frame_truncated");
  expect(reader.next()).toMatchObject({ listener: "web", reason: "frame_truncated" });
  expect(reader.next()).toBeUndefined();
  tap.stop(order.id);
  expect(tap.isActive).toBe(false);
});

import { expect, test } from "vitest";
import { captureComment, parseCaptureComment } from "../../src/cli/capture-comment.ts";

const at = { listener: "a:b", direction: "egress", worker: 3, isOuter: false } as const;
for (const { name, comment, read } of [
  {
    name: "of a packet as it came",
    comment: captureComment(
      at,
      " [vxlan vni 42 flags 0x08, east, 192.0.2.1:51234 > 192.0.2.2:4789]",
      "drop by blocklist",
    ),
    read: { listener: "a:b", direction: "egress", isExit: false, isOuter: false },
  },
  {
    name: "of a packet as the filters left it",
    comment: captureComment(at, ""),
    read: { listener: "a:b", direction: "egress", isExit: true, isOuter: false },
  },
  {
    name: "of a packet in its outer one",
    comment: captureComment({ ...at, isOuter: true }, " [geneve]", "pass"),
    read: { listener: "a:b", direction: "egress", isExit: false, isOuter: true },
  },
  { name: "of another program", comment: "seen at echo ingress, worker 0: pass", read: undefined },
  { name: "of weir replay", comment: "weir: pass by blocklist", read: undefined },
])
  test(`a comment ${name} is read as it was written`, () => {
    expect(parseCaptureComment(["something else", comment])).toEqual(read);
  });

import { expect, test } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import { packetLine } from "../../src/packet/packet-line.ts";

const ethernet4 = "02005e00000102005e0000020800";

for (const { name, frame, line } of [
  {
    name: "a datagram",
    frame: `${ethernet4}4500001e0000400040110000cb0071077f00000112340035000a00006869`,
    line: "IP 203.0.113.7.4660 > 127.0.0.1.53: UDP, length 2",
  },
  {
    name: "a SYN",
    frame: `${ethernet4}45000028000040004006000001020304050607080050007b00000001000000005002ffff00000000`,
    line: "IP 1.2.3.4.80 > 5.6.7.8.123: Flags [S], length 0",
  },
  {
    name: "an IPv6 datagram",
    frame: `02005e00000102005e00000286dd60000000000811402001${"0db8".padEnd(28, "0").slice(0, -2)}0120010db80000000000000000000000021234003500080000`,
    line: "IP6 2001:db8::1.4660 > 2001:db8::2.53: UDP, length 0",
  },
  {
    name: "a later fragment",
    frame: `${ethernet4}4500001800000010401100000102030405060708ffffffff`,
    line: "IP 1.2.3.4 > 5.6.7.8: fragment, protocol 17, length 4",
  },
  {
    name: "what is not IP",
    frame: "ffffffffffff02005e0000020806000108000604",
    line: "ethertype 0x0806, length 20",
  },
  {
    name: "a frame that is cut off",
    frame: `${ethernet4}4500`,
    line: "[frame_truncated], length 16",
  },
])
  test(`${name} is one line as tcpdump's`, () => {
    expect(packetLine(parseHex(frame)!)).toBe(line);
  });

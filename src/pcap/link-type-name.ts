/**
 * Names of link types by their LINKTYPE_ number, as https://www.tcpdump.org/linktypes.html has them:
 * those that Weir knows, and those that people come with otherwise.
 */
const names: ReadonlyMap<number, string> = new Map([
  [0, "NULL"],
  [1, "EN10MB"],
  [6, "IEEE802_5"],
  [9, "PPP"],
  [10, "FDDI"],
  [12, "RAW"],
  [14, "RAW"],
  [50, "PPP_HDLC"],
  [51, "PPP_ETHER"],
  [101, "RAW"],
  [104, "C_HDLC"],
  [105, "IEEE802_11"],
  [107, "FRELAY"],
  [108, "LOOP"],
  [113, "LINUX_SLL"],
  [117, "PFLOG"],
  [119, "PRISM_HEADER"],
  [122, "IP_OVER_FC"],
  [127, "IEEE802_11_RADIO"],
  [143, "DOCSIS"],
  [147, "USER0"],
  [163, "IEEE802_11_RADIO_AVS"],
  [187, "BLUETOOTH_HCI_H4"],
  [189, "USB_LINUX"],
  [192, "PPI"],
  [195, "IEEE802_15_4"],
  [201, "BLUETOOTH_HCI_H4_WITH_PHDR"],
  [220, "USB_LINUX_MMAPPED"],
  [227, "CAN_SOCKETCAN"],
  [228, "IPV4"],
  [229, "IPV6"],
  [230, "IEEE802_15_4_NOFCS"],
  [239, "NFLOG"],
  [240, "NETANALYZER"],
  [249, "USBPCAP"],
  [251, "BLUETOOTH_LE_LL"],
  [252, "WIRESHARK_UPPER_PDU"],
  [253, "NETLINK"],
  [276, "LINUX_SLL2"],
]);

/** A link type for messages: `link type 9 (PPP)`, the number alone where it has no name here. */
export function linkTypeText(linkType: number): string {
  const name = names.get(linkType);
  return name === undefined ? `link type ${linkType}` : `link type ${linkType} (${name})`;
}

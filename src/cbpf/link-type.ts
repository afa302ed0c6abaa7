import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { linkTypeText } from "../pcap/link-type-name.ts";

/**
 * What stands at the front of a packet: the link types for which expressions are compiled.
 * https://www.tcpdump.org/linktypes.html.
 */
export const linkTypes = ["EN10MB", "RAW", "LINUX_SLL", "LINUX_SLL2", "NULL", "LOOP"] as const;

export type LinkType = (typeof linkTypes)[number];

/** LINKTYPE_ numbers in capture files. 12 and 14 are what some systems call RAW. */
const byNumber: ReadonlyMap<number, LinkType> = new Map([
  [0, "NULL"],
  [1, "EN10MB"],
  [12, "RAW"],
  [14, "RAW"],
  [101, "RAW"],
  [108, "LOOP"],
  [113, "LINUX_SLL"],
  [276, "LINUX_SLL2"],
]);

/** By the name tcpdump uses: `EN10MB`, `DLT_RAW`, in either case. */
export function linkTypeByName(name: string): Result<LinkType, UserError> {
  const wanted = name.toUpperCase().replace(/^DLT_/, "");
  const found = linkTypes.find((type) => type === wanted);
  return found === undefined ? unsupported(`link type "${name.slice(0, 60)}"`) : ok(found);
}

/** By the number in a capture file. */
export function linkTypeByNumber(number: number): Result<LinkType, UserError> {
  const found = byNumber.get(number);
  return found === undefined ? unsupported(linkTypeText(number)) : ok(found);
}

function unsupported(where: string): Result<never, UserError> {
  return err(
    new UserError(
      "EXPRESSION_LINK_TYPE",
      where,
      "expressions are not compiled for this link type",
      `expected one of ${linkTypes.join(", ")}`,
    ),
  );
}

/** Where a redirect leads: ` to 2`; of a broadcast ` to 2, 3`; of any other verdict nothing. */
export function targetText(
  ifindex: number | undefined,
  ports: readonly number[] | undefined,
  what = "",
): string {
  if (ports === undefined) return ifindex === undefined ? "" : ` to ${what}${ifindex}`;
  return ports.length === 0 ? " to no port" : ` to ${what}${ports.join(", ")}`;
}

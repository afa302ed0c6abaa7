/** Records of a section (relocations, lines, …) ordered by the byte they are about. */
export function sortByOffset<Row extends { readonly offset: number }>(
  rows: readonly Row[],
): readonly Row[] {
  return rows.toSorted((a, b) => a.offset - b.offset);
}

/** Those about bytes from `start` to before `end`, of records that `sortByOffset` ordered. */
export function recordsBetween<Row extends { readonly offset: number }>(
  sorted: readonly Row[],
  start: number,
  end: number,
): readonly Row[] {
  return sorted.slice(firstAtOrAfter(sorted, start), firstAtOrAfter(sorted, end));
}

function firstAtOrAfter(sorted: readonly { readonly offset: number }[], offset: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `1,234,567`. */
export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

/** A number with its noun: `1 packet`, `1,234 packets`. */
export function countOf(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

const byteUnits = ["bytes", "kB", "MB", "GB", "TB", "PB"] as const;

/** `999 bytes`, `1.2 kB`, `34.5 MB`: powers of 1000. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  if (unit === 0) return countOf(bytes, "byte");
  return `${value.toFixed(1)} ${byteUnits[unit]}`;
}

/** `12.3 s`, `4 min 5 s`, `3 h 20 min`, `12 days 3 h`. */
export function durationText(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

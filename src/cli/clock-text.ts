/** A time since 1970 as the clock of that day shows it, in UTC: `12:34:56.123456`. */
export function clockText({
  seconds,
  nanoseconds,
}: {
  readonly seconds: number;
  readonly nanoseconds: number;
}): string {
  const time = new Date(seconds * 1000).toISOString().slice(11, 19);
  return `${time}.${String(Math.floor(nanoseconds / 1000)).padStart(6, "0")}`;
}

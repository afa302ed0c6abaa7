const linesPerSecond = 20;

/**
 * Passes on what programs print with `bpf_trace_printk`, at most 20 lines a second: a program may
 * print for every packet, and a log that grows as fast would be the greater harm. What was left
 * out is told with the next line that is passed.
 */
export function limitTrace(
  emit: (line: string) => void,
  nowMs: () => number,
): (line: string) => void {
  let windowMs = Number.NEGATIVE_INFINITY;
  let lines = 0;
  let leftOut = 0;
  return (line) => {
    const now = nowMs();
    if (now - windowMs >= 1000) {
      windowMs = now;
      lines = 0;
    }
    if (lines === linesPerSecond) {
      leftOut++;
      return;
    }
    lines++;
    if (leftOut > 0) emit(`(${leftOut} lines left out)`);
    leftOut = 0;
    emit(line);
  };
}

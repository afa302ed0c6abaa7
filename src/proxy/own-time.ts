/** Longer stretches of time in which the process did not run count as this much, in milliseconds. */
const sliceMs = 1_000;

/**
 * Calls back after `ms` milliseconds of this process's own time: for as long as it was stopped, or the
 * machine slept, no thread had its chance. Returns what calls it off.
 */
export function afterOwnTime(ms: number, callback: () => void): () => void {
  let leftMs = ms;
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const nextMs = Math.min(leftMs, sliceMs);
    timer = setTimeout(() => {
      leftMs -= nextMs;
      if (leftMs > 0) wait();
      else callback();
    }, nextMs);
  };
  wait();
  return () => clearTimeout(timer);
}

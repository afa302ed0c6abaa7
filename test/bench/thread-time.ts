/**
 * CPU time of this thread, in nanoseconds. Linux brings a thread's own account up to date at its ticks,
 * 4 ms apart, and when the whole process's is asked for; so that is asked for first. What V8's other
 * threads compile or collect is not in it.
 */
export function threadNs(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1000;
}

/**
 * Has this thread give back what starting took and running needs no more: garbage, and the code of
 * functions that ran once. V8 would keep both until the heap has grown by as much again. Nothing
 * happens unless Node was started with --expose-gc, as the image does. Takes some 50 ms.
 */
export function collectStartGarbage(): void {
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}

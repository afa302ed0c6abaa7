import { setImmediate as nextTurn } from "node:timers/promises";

/**
 * Work that can be done in pieces: it yields wherever something else may have a turn. Who starts it
 * chooses between `atOnce` and `inTurns`.
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** So much of a thread's time such work takes before others have a turn. */
const turnMs = 4;

/** Items between two places where others may have a turn: far less than a millisecond's. */
const itemsAStep = 64;

/** Takes the items one after another, in pieces. The first answer that is not undefined ends it. */
export function* eachInSteps<Item, Answer>(
  items: Iterable<Item>,
  take: (item: Item) => Answer | undefined,
): Steps<Answer | undefined> {
  let step = 0;
  for (const item of items) {
    if (step++ % itemsAStep === 0) yield;
    const answer = take(item);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** Does all of it before it returns. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Does it a few milliseconds a turn of the event loop. */
export async function inTurns<T>(steps: Steps<T>): Promise<T> {
  for (let startMs = performance.now(); ; ) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - startMs < turnMs) continue;
    await nextTurn();
    startMs = performance.now();
  }
}

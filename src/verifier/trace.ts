/** A register (0 to 10) or a stack slot (16 and up) of a frame, in one number. */
export type Place = number;

/** A power of two, of which `placeFrame` takes the logarithm. */
const placesPerFrame = 128;
const firstSlotPlace = 16;

export function registerPlace(frame: number, register: number): Place {
  return frame * placesPerFrame + register;
}

export function slotPlace(frame: number, slot: number): Place {
  return frame * placesPerFrame + firstSlotPlace + slot;
}

export function placeFrame(place: Place): number {
  return place >> 7;
}

/** The stack slot of a place, or -1 for a register. */
export function placeSlot(place: Place): number {
  return (place & (placesPerFrame - 1)) - firstSlotPlace;
}

export function placeRegister(place: Place): number {
  return place & (placesPerFrame - 1);
}

const none = -1;

/** What an instruction touches that matters whatever is wanted: calls and exits. */
export const mattersAlways = 0xffff;

/**
 * Every instruction that was visited, with the one before it on its path: a tree in three arrays,
 * since paths share their beginnings. It is what precision is followed back through.
 */
export class Trace {
  #previous: Int32Array<ArrayBuffer>;
  #slot: Int32Array<ArrayBuffer>;
  /**
   * Three bits: the frame that ran it; one: `callback`; one: `linked` has something; one: `leaves`;
   * above: the place it spilled to or filled from. More than 7 where the step did more than its
   * instruction says.
   */
  #detail: Int32Array<ArrayBuffer>;
  #length = 0;
  readonly #linked = new Map<number, (readonly Place[])[]>();

  /** With room to visit so many instructions once, and some of them again; it grows. */
  constructor(instructions: number) {
    const steps = instructions + (instructions >> 2) + 64;
    this.#previous = new Int32Array(steps);
    this.#slot = new Int32Array(steps);
    this.#detail = new Int32Array(steps);
  }

  add(previous: number, slot: number, depth: number): number {
    if (this.#length === this.#slot.length) this.#grow();
    const step = this.#length++;
    this.#previous[step] = previous;
    this.#slot[step] = slot;
    this.#detail[step] = depth;
    return step;
  }

  /** The step loaded a register from this stack slot, or stored one whole. */
  setStackPlace(step: number, place: Place): void {
    this.#detail[step] = (this.#detail[step]! & 63) | ((place + 1) << 6);
  }

  /** The step is a helper's call into a callback, or the callback's exit. */
  setCallback(step: number): void {
    this.#detail[step]! |= 8;
  }

  /** The step is no instruction's own: the one before it ended its function, as an exit would. */
  setLeaves(step: number): void {
    this.#detail[step]! |= 32;
  }

  /** The step changed the ranges of all these at once, since they are linked. */
  addLinked(step: number, places: readonly Place[]): void {
    this.#detail[step]! |= 16;
    const known = this.#linked.get(step);
    if (known === undefined) this.#linked.set(step, [places]);
    else known.push(places);
  }

  previous(step: number): number {
    return this.#previous[step]!;
  }

  slot(step: number): number {
    return this.#slot[step]!;
  }

  depth(step: number): number {
    return this.#detail[step]! & 7;
  }

  /**
   * From `step` back to `until`, which is none of it, the first that may change what is wanted, or
   * `until`. A step may if it is special, or if its instruction's `touches` has a register that is
   * `wanted` in its frame. Most steps do not: this is where precision's time goes.
   */
  backTo(step: number, until: number, touches: Uint16Array, wanted: Int32Array): number {
    const previous = this.#previous;
    const slots = this.#slot;
    const details = this.#detail;
    let at = step;
    while (at !== until) {
      const detail = details[at]!;
      if (detail > 7) return at;
      const touched = touches[slots[at]!]!;
      if (touched === mattersAlways || (wanted[detail]! & touched) !== 0) return at;
      at = previous[at]!;
    }
    return until;
  }

  callback(step: number): boolean {
    return (this.#detail[step]! & 8) !== 0;
  }

  leaves(step: number): boolean {
    return (this.#detail[step]! & 32) !== 0;
  }

  /** As set, or -1. */
  stackPlace(step: number): Place {
    return (this.#detail[step]! >> 6) - 1;
  }

  /** Sets of places that the step changed together. */
  linked(step: number): readonly (readonly Place[])[] | undefined {
    return (this.#detail[step]! & 16) === 0 ? undefined : this.#linked.get(step);
  }

  #grow(): void {
    const grown = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(from.length * 2);
      to.set(from);
      return to;
    };
    this.#previous = grown(this.#previous);
    this.#slot = grown(this.#slot);
    this.#detail = grown(this.#detail);
  }
}

/** The step before a path's first. */
export const noStep = none;

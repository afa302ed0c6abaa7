import { functionText, whereText } from "./describe-place.ts";
import type { VerifiableProgram } from "./program.ts";
import { pointer, type RegisterState, uninitialised } from "./register-state.ts";
import type { StackSlot } from "./stack-state.ts";

/** A set of the 64 slots of a frame. */
export class SlotSet {
  #low = 0;
  #high = 0;

  has(slot: number): boolean {
    return slot < 32 ? (this.#low & (1 << slot)) !== 0 : (this.#high & (1 << (slot - 32))) !== 0;
  }

  add(slot: number): void {
    if (slot < 32) this.#low |= 1 << slot;
    else this.#high |= 1 << (slot - 32);
  }

  delete(slot: number): void {
    if (slot < 32) this.#low &= ~(1 << slot);
    else this.#high &= ~(1 << (slot - 32));
  }

  clear(): void {
    this.#low = 0;
    this.#high = 0;
  }

  get empty(): boolean {
    return (this.#low | this.#high) === 0;
  }

  setTo(other: SlotSet): void {
    this.#low = other.#low;
    this.#high = other.#high;
  }
}

/** One activation of a function on one path. */
export class Frame {
  /** r0 to r10. */
  readonly registers: RegisterState[];
  /** Where the function begins. */
  readonly entry: number;
  /** The slot of the call that made it, -1 for the program itself. */
  readonly callSite: number;
  /** A helper calls it, and may again. */
  readonly callback: boolean;
  /** How many iterations of a callback this frame has been through. */
  callbackDepth = 0;
  /** Slots written whole since the last checkpoint: what lay there before cannot be read any more. */
  #written: SlotSet | undefined;
  /** In a checkpoint: slots that a path from it reads. Complete once all its paths have ended. */
  #read: SlotSet | undefined;
  #stack: (StackSlot | undefined)[] = [];
  #shared = false;

  constructor(entry: number, callSite: number, callback: boolean, registers: RegisterState[]) {
    this.entry = entry;
    this.callSite = callSite;
    this.callback = callback;
    this.registers = registers;
  }

  /** By slot; what was never written is undefined, also beyond the array's end. */
  get stack(): readonly (StackSlot | undefined)[] {
    return this.#stack;
  }

  setSlot(slot: number, value: StackSlot): void {
    if (this.#shared) {
      this.#stack = this.#stack.slice();
      this.#shared = false;
    }
    while (this.#stack.length < slot) this.#stack.push(undefined);
    this.#stack[slot] = value;
  }

  wasWritten(slot: number): boolean {
    return this.#written?.has(slot) === true;
  }

  noteWritten(slot: number): void {
    this.#written ??= new SlotSet();
    this.#written.add(slot);
  }

  /** A checkpoint has been made: from here on writes count anew. */
  forgetWritten(): void {
    this.#written?.clear();
  }

  isRead(slot: number): boolean {
    return this.#read?.has(slot) === true;
  }

  get isReadAnywhere(): boolean {
    return this.#read !== undefined;
  }

  noteRead(slot: number): void {
    this.#read ??= new SlotSet();
    this.#read.add(slot);
  }

  /** A copy for another path. Stacks are shared until one of the two writes. */
  copy(): Frame {
    const copy = new Frame(this.entry, this.callSite, this.callback, this.registers.slice());
    copy.callbackDepth = this.callbackDepth;
    if (this.#written !== undefined && !this.#written.empty) {
      copy.#written = new SlotSet();
      copy.#written.setTo(this.#written);
    }
    copy.#stack = this.#stack;
    copy.#shared = true;
    this.#shared = true;
    return copy;
  }
}

/** A frame at its function's first instruction: the stack is empty, only r10 has a value. */
export function newFrame(number: number, entry: number, callSite: number, callback = false): Frame {
  const registers = new Array<RegisterState>(11).fill(uninitialised);
  registers[10] = pointer("stack", { frame: number });
  return new Frame(entry, callSite, callback, registers);
}

/** Something a helper handed out that another must take back before the program ends. */
export interface Reference {
  readonly id: number;
  /** The call that handed it out. */
  readonly slot: number;
  /** The function that made this call. */
  readonly taker: Pick<Frame, "entry" | "callSite" | "callback">;
  /** For a spin lock: the map of the value it lies in, and the id of pointers to that value. */
  readonly lock?: { readonly target: number; readonly value: number };
}

/** What is wrong about a reference that is still held, for messages. */
export function heldText(
  program: Pick<VerifiableProgram, "lines" | "functions">,
  { slot, taker, lock }: Reference,
): string {
  const where = whereText(program, slot);
  const by = takerText(program, taker);
  return lock === undefined
    ? `what the call at ${where} reserved${by} is not given back`
    : `the spin lock taken at ${where}${by} is still held`;
}

/** Which function took it, where that is not the program itself. */
function takerText(
  program: Pick<VerifiableProgram, "lines" | "functions">,
  { entry, callSite, callback }: Reference["taker"],
): string {
  if (callSite < 0) return "";
  const call = whereText(program, callSite);
  return ` in ${functionText(program, entry)}, ${callback ? `the callback of ${call}` : `called at ${call}`},`;
}

/** Everything known at one point of one path. */
export class PathState {
  readonly #frames: Frame[];
  /** The frame of the function that runs. */
  frame: Frame;
  references: readonly Reference[];
  /** The last checkpoint on this path. */
  parent: Checkpoint | undefined;
  /** The step of the trace that came last. */
  step: number;
  /** Instructions since `parent`: what precision follows back one by one. */
  sinceCheckpoint = 0;

  constructor(
    frames: Frame[],
    references: readonly Reference[],
    parent: Checkpoint | undefined,
    step: number,
  ) {
    this.#frames = frames;
    this.frame = frames[frames.length - 1] as Frame;
    this.references = references;
    this.parent = parent;
    this.step = step;
  }

  /** The program's frame, and those of functions that are nested in it. */
  get frames(): readonly Frame[] {
    return this.#frames;
  }

  get depth(): number {
    return this.#frames.length - 1;
  }

  /** A function begins. */
  enter(frame: Frame): void {
    this.#frames.push(frame);
    this.frame = frame;
  }

  /** The function that runs ends: its caller goes on. */
  leave(): void {
    this.#frames.pop();
    this.frame = this.#frames[this.#frames.length - 1] as Frame;
  }

  copy(): PathState {
    const copy = new PathState(
      this.frames.length === 1 ? [this.frame.copy()] : this.frames.map((frame) => frame.copy()),
      this.references,
      this.parent,
      this.step,
    );
    copy.sinceCheckpoint = this.sinceCheckpoint;
    return copy;
  }

  /** The call at this slot hands something out. */
  take(id: number, slot: number, lock?: Reference["lock"]): void {
    const { entry, callSite, callback } = this.frame;
    const taker = { entry, callSite, callback };
    const taken = lock === undefined ? { id, slot, taker } : { id, slot, taker, lock };
    this.references = [...this.references, taken];
  }

  /** Notes that a slot is read, in all checkpoints since it was last written. */
  markRead(frame: number, slot: number): void {
    if (this.frames[frame]?.wasWritten(slot)) return;
    for (let at = this.parent; at !== undefined; at = at.state.parent) {
      const there = at.state.frames[frame];
      if (there === undefined || there.isRead(slot)) return;
      there.noteRead(slot);
      if (there.wasWritten(slot)) return;
    }
  }

  /** Every register and spilled register, replaced by what `change` makes of it. */
  changeAll(change: (register: RegisterState) => RegisterState): void {
    for (const frame of this.frames) {
      const { registers } = frame;
      for (let i = 0; i < 10; i++) {
        const before = registers[i] as RegisterState;
        if (before.kind !== "uninitialised") registers[i] = change(before);
      }
      const { stack } = frame;
      for (let slot = 0; slot < stack.length; slot++) {
        const held = stack[slot];
        if (held?.register === undefined) continue;
        const after = change(held.register);
        if (after !== held.register) frame.setSlot(slot, { bytes: held.bytes, register: after });
      }
    }
  }
}

/** A state that other paths to the same instruction are compared with. */
export interface Checkpoint {
  readonly slot: number;
  readonly state: PathState;
  /** Paths from here that have not ended. Only at 0 is it known what they relied on. */
  open: number;
  hits: number;
  misses: number;
  /** The register that kept it from covering a path the last time, or -1. */
  mismatch: number;
}

import type { ProgramType } from "../object/object-spec.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_FLAGS,
  SLOT_SKB,
  SLOT_WROTE,
} from "../runtime/wasm/layout.ts";
import { type ContextAccess, contextAccessOf, mayWritePacket } from "../verifier/context-rules.ts";
import {
  type EngineContext,
  type Fault,
  frameBytes,
  framesBytes,
  maxFrames,
  type RunnableProgram,
  walkBytes,
  walksOffset,
} from "./engine.ts";
import { Holdings } from "./holdings.ts";
import { walk as walkRecord } from "./map-walk.ts";
import { ReachableMaps, type ValueRange } from "./reachable-maps.ts";
import { hasSocketContext, hiddenBytes } from "./socket-context.ts";

/** How a program touches memory; what an object allows differs between them. */
export const READ = 0;
export const READ_SIGNED = 1;
export const WRITE = 2;
export const ATOMIC = 3;
export type Access = typeof READ | typeof READ_SIGNED | typeof WRITE | typeof ATOMIC;

const frameDoubles = frameBytes / 8;

/**
 * The objects one program may reach while it runs on a packet: its stack frames in use, the packet
 * and its metadata, the context, values of the maps it references. Every access of a program and
 * every pointer it gives to a helper is checked here; nothing else is reachable.
 *
 * `readLow` to `readHigh` and `writeLow` to `writeHigh` are the object hit last: an engine compares
 * with them in place and calls `locate` only outside of them. An address is the low word of a
 * register plus an offset, as a signed 32-bit number; the high word of a pointer is 0.
 */
export class ProgramMemory {
  readLow = 0;
  readHigh = 0;
  writeLow = 0;
  writeHigh = 0;
  /** The packet slot of this run, and the context in it that r1 points to. */
  slot = 0;
  contextAddress = 0;
  /** Why the last check failed. */
  problem: Omit<Fault, "slot"> = { code: "bad_access", message: "" };
  readonly maps: ReachableMaps;
  readonly #context: EngineContext;
  readonly #contextOffset: number;
  readonly #contextRules: ContextAccess | undefined;
  readonly #contextBytes: number;
  readonly #type: ProgramType;
  /** Bytes of the frame in front of the packet as this program has it. */
  readonly #hidden: number;
  readonly #seesMetadata: boolean;
  readonly #mayWrite: boolean;
  /** The verifier refuses an atomic operation on the packet but as memory that a global function was given. */
  readonly #atomicPacket: boolean;
  /** What the run has taken and must give back. */
  readonly holdings: Holdings;
  readonly #stackTop: number;
  readonly #walks: number;
  readonly #stack: Float64Array;
  #stackLow = 0;
  /** One bit a frame: its bytes are those of this activation. */
  #clean = 0;
  #data = 0;
  #dataEnd = 0;
  #dataMeta = 0;
  #packetBound = 0;

  constructor(program: RunnableProgram, context: EngineContext) {
    this.maps = new ReachableMaps(program.namedMaps, context.arena);
    this.#context = context;
    this.#type = program.type;
    this.#contextRules = contextAccessOf(program.type, program.onDevmap);
    this.#contextBytes = this.#contextRules?.bytes ?? 0;
    this.#contextOffset = hasSocketContext(program.type) ? SLOT_SKB : 0;
    this.#hidden = hiddenBytes(program.type);
    this.#seesMetadata = [...(this.#contextRules?.pointers.values() ?? [])].includes("packet_meta");
    this.#mayWrite = mayWritePacket(program.type);
    this.#atomicPacket = program.type === "raw" || program.verified === true;
    this.#stackTop = context.stack + framesBytes;
    this.#walks = context.stack + walksOffset;
    this.#stack = new Float64Array(context.arena.memory.buffer, context.stack, framesBytes / 8);
    this.holdings = new Holdings(context);
  }

  /** Address of the frame pointer of the `depth`th nested call; 0 is the program itself. */
  framePointer(depth: number): number {
    return this.#stackTop - depth * frameBytes;
  }

  /** Starts a run on a packet slot, with one stack frame. */
  enter(slot: number): void {
    this.slot = slot;
    this.contextAddress = slot + this.#contextOffset;
    this.#stackLow = this.#stackTop - frameBytes;
    this.#clean = 0;
    this.maps.enter();
    if (!this.holdings.isEmpty) this.holdings.giveBack();
    this.refresh();
  }

  /** Ends a run: what a fault kept the program from giving back is given back. */
  leave(): void {
    if (!this.holdings.isEmpty) this.holdings.giveBack();
  }

  /** The objects of the program have changed: the one hit last may be none any more. */
  forget(): void {
    this.#forget();
  }

  /** Takes over the packet's ends from the slot: pointers made before are checked against these. */
  refresh(): void {
    const { words } = this.#context.arena;
    const slot = this.slot >> 2;
    this.#data = words[slot + (SLOT_DATA >> 2)]! + this.#hidden;
    this.#dataEnd = words[slot + (SLOT_DATA_END >> 2)]!;
    this.#dataMeta = words[slot + (SLOT_DATA_META >> 2)]!;
    this.#packetBound = this.#type === "socket" ? 0 : this.#dataEnd;
    this.#forget();
  }

  /** The program's type, for helpers that do otherwise for one or the other. */
  get type(): ProgramType {
    return this.#type;
  }

  /** Address of the packet's first byte as this program has it. */
  get packet(): number {
    return this.#data;
  }

  /** One past the packet's last byte. */
  get packetEnd(): number {
    return this.#dataEnd;
  }

  /** A function begins: one frame more is in use. */
  pushFrame(depth: number): void {
    this.#stackLow = this.#stackTop - (depth + 1) * frameBytes;
    this.#clean &= ~(1 << depth);
    this.#forget();
  }

  /** The function at `depth` has ended: its frame is out of reach. */
  popFrame(depth: number): void {
    this.#stackLow = this.#stackTop - depth * frameBytes;
    this.#forget();
  }

  /**
   * Takes over the frames from an engine that enters and leaves functions by itself: frames up to
   * `depth` are in use, and `clean` has one bit a frame whose bytes are those of this activation.
   */
  resumeFrames(depth: number, clean: number): void {
    this.#stackLow = this.#stackTop - (depth + 1) * frameBytes;
    this.#clean = clean;
    this.#forget();
  }

  /** The frames that have been zeroed in this activation: see `resumeFrames`. */
  get cleanFrames(): number {
    return this.#clean;
  }

  #forget(): void {
    this.readLow = 0;
    this.readHigh = 0;
    this.writeLow = 0;
    this.writeHigh = 0;
  }

  /** Whether `size` bytes at a pointer given to a helper may be read. `problem` says why not. */
  readable(low: number, high: number, size: number): boolean {
    if (high === 0 && low >= this.readLow && low + size <= this.readHigh) return true;
    return this.#notContext(low) && this.locate(low, high, size, READ);
  }

  /** Whether a helper may write `size` bytes at a pointer. `problem` says why not. */
  writable(low: number, high: number, size: number): boolean {
    if (high === 0 && low >= this.writeLow && low + size <= this.writeHigh) return true;
    return this.#notContext(low) && this.locate(low, high, size, WRITE);
  }

  #notContext(address: number): boolean {
    const offset = address - this.contextAddress;
    if (offset < 0 || offset >= this.#contextBytes) return true;
    return this.#refuse("bad_access", "the context is not memory that a helper takes");
  }

  /**
   * Whether the program may access `size` bytes at `address`; remembers the object. False sets
   * `problem`. The first touch of a stack frame in each activation zeroes it.
   */
  locate(address: number, high: number, size: number, access: Access): boolean {
    if (high !== 0)
      return this.#refuse(
        "bad_pointer",
        `${name(access, size)} through 0x${hex(high)}${hex(address).padStart(8, "0")}, which is no pointer`,
      );
    if (address >= this.#stackLow && address < this.#stackTop)
      return this.#locateStack(address, size, access);
    if (address >= this.#data && address < this.#packetBound)
      return this.#locatePacket(address, size, access, this.#data, this.#packetBound, "packet");
    const offset = address - this.contextAddress;
    if (offset >= 0 && offset < this.#contextBytes)
      return this.#locateContext(offset, size, access);
    if (address >= this.#dataMeta && address < this.#data && this.#seesMetadata)
      return this.#locatePacket(address, size, access, this.#dataMeta, this.#data, "metadata");
    const values = this.maps.rangeAt(address);
    if (values !== undefined) return this.#locateValue(values, address, size, access);
    const record = this.holdings.recordAt(address);
    if (record !== undefined) return this.#locateRecord(record, address, size, access);
    const walk = address - this.#walks;
    if (walk >= 0 && walk < maxFrames * walkBytes)
      return this.#locateKey(address, size, access, walk - (walk % walkBytes) + this.#walks);
    return this.#refuseNowhere(address, size, access);
  }

  #locateStack(address: number, size: number, access: Access): boolean {
    const depth = Math.trunc((this.#stackTop - 1 - address) / frameBytes);
    const low = this.#stackTop - (depth + 1) * frameBytes;
    const end = low + frameBytes;
    if (address + size > end)
      return this.#refuseBeyond(address, size, access, `stack frame ${depth}`, end);
    if ((this.#clean & (1 << depth)) === 0) {
      this.#clean |= 1 << depth;
      const first = (maxFrames - 1 - depth) * frameDoubles;
      // A loop: `fill` on shared memory costs twice as much (36 against 16 ns a frame).
      for (let i = first; i < first + frameDoubles; i++) this.#stack[i] = 0;
    }
    this.readLow = this.writeLow = low;
    this.readHigh = this.writeHigh = end;
    return true;
  }

  #locatePacket(
    address: number,
    size: number,
    access: Access,
    low: number,
    end: number,
    what: string,
  ): boolean {
    if (address + size > end) return this.#refuseBeyond(address, size, access, what, end);
    if (access === ATOMIC && !this.#atomicPacket)
      return this.#refuse("bad_access", `${name(access, size)} on the packet, which allows none`);
    if (access >= WRITE && !this.#mayWrite)
      return this.#refuse(
        "read_only",
        `${name(access, size)} to the ${what}, which programs of type ${this.#type} only read`,
      );
    this.readLow = low;
    this.readHigh = end;
    if (access >= WRITE) {
      this.writeLow = low;
      this.writeHigh = end;
      if (low === this.#data) this.markWritten();
    }
    return true;
  }

  /** Notes in the slot that the frame is no longer as it came. */
  markWritten(): void {
    const { words } = this.#context.arena;
    words[(this.slot + SLOT_FLAGS) >> 2]! |= SLOT_WROTE;
  }

  #locateContext(offset: number, size: number, access: Access): boolean {
    const rules = this.#contextRules!;
    const allowed =
      access === READ
        ? rules.reads[offset]!
        : access === READ_SIGNED
          ? rules.signedReads[offset]!
          : access === WRITE
            ? rules.writes[offset]!
            : 0;
    if ((allowed & size) !== 0) return true;
    return this.#refuse(
      access >= WRITE && (rules.reads[offset]! & size) !== 0 ? "read_only" : "bad_access",
      `${name(access, size)} at ${rules.name} + ${offset} is not allowed to this program type`,
    );
  }

  #locateValue(values: ValueRange, address: number, size: number, access: Access): boolean {
    const { map, stride } = values;
    const index = Math.trunc((address - values.low) / stride);
    const low = values.low + index * stride;
    const end = low + values.size;
    if (address + size > end)
      return this.#refuseBeyond(address, size, access, `value of map ${map.name}`, end);
    if (access !== WRITE && !values.readable)
      return this.#refuse("bad_access", `${name(access, size)} from write-only map ${map.name}`);
    if (access >= WRITE && !values.writable)
      return this.#refuse("read_only", `${name(access, size)} to read-only map ${map.name}`);
    if (values.readable) {
      this.readLow = low;
      this.readHigh = end;
    }
    if (values.writable) {
      this.writeLow = low;
      this.writeHigh = end;
    }
    return true;
  }

  #locateRecord(
    { low, size: bytes }: { readonly low: number; readonly size: number },
    address: number,
    size: number,
    access: Access,
  ): boolean {
    const end = low + bytes;
    if (address + size > end)
      return this.#refuseBeyond(address, size, access, "reserved record", end);
    this.readLow = this.writeLow = low;
    this.readHigh = this.writeHigh = end;
    return true;
  }

  /** The key that a walk over a map gives to its callback. */
  #locateKey(address: number, size: number, access: Access, walk: number): boolean {
    const low = walk + walkRecord.key;
    const end = low + this.#context.arena.words[(walk + walkRecord.keyBytes) >> 2]!;
    if (address < low || address >= end) return this.#refuseNowhere(address, size, access);
    if (address + size > end) return this.#refuseBeyond(address, size, access, "map key", end);
    if (access >= WRITE)
      return this.#refuse("read_only", `${name(access, size)} to the key of a map's entry`);
    this.readLow = low;
    this.readHigh = end;
    return true;
  }

  #refuseBeyond(address: number, size: number, access: Access, what: string, end: number): boolean {
    const beyond = address + size - end;
    return this.#refuse(
      "bad_access",
      `${name(access, size)} at 0x${hex(address)} reaches ${beyond} bytes beyond the end of the ${what} (0x${hex(end)})`,
    );
  }

  #refuseNowhere(address: number, size: number, access: Access): boolean {
    if (address >= 0 && address < 65_536)
      return this.#refuse("bad_pointer", `${name(access, size)} through null + ${address}`);
    const packet = `packet 0x${hex(this.#data)} to 0x${hex(this.#packetBound || this.#dataEnd)}`;
    const stack = `stack 0x${hex(this.#stackLow)} to 0x${hex(this.#stackTop)}`;
    return this.#refuse(
      "bad_access",
      `${name(access, size)} at 0x${hex(address)}, where the program has no object (${packet}, ${stack})`,
    );
  }

  #refuse(code: Fault["code"], message: string): false {
    this.problem = { code, message };
    return false;
  }
}

function hex(address: number): string {
  return (address >>> 0).toString(16);
}

function name(access: Access, size: number): string {
  const what = access === WRITE ? "write" : access === ATOMIC ? "atomic operation" : "read";
  return `${what} of ${size} ${size === 1 ? "byte" : "bytes"}`;
}

import { errno } from "../common/errno.ts";
import { UserError } from "../common/user-error.ts";
import { holdsEvents, holdsMaps } from "../object/map-rules.ts";
import type { Arena } from "../runtime/arena.ts";
import { MAIN_THREAD, type MapRuntime } from "../runtime/map-runtime.ts";
import { valueStride } from "../runtime/wasm/geometry.ts";
import {
  CURSOR_END,
  CURSOR_POSITION,
  MAP_COUNT,
  MAP_ELEMENT_COUNT,
  MAP_HEAD,
  MAP_SCRATCH,
  MAP_TAIL,
  MAP_VALUES,
  UPDATE_ANY,
} from "../runtime/wasm/layout.ts";
import { innerMapRefusal, innerMapValue, takesMap } from "./inner-maps.ts";
import type { MapHandle } from "./map-handle.ts";
import { type ScratchLayout, scratchLayout } from "./map-storage.ts";

export interface MapContent {
  readonly key: Uint8Array;
  /** One a CPU; one alone for maps that are not per CPU. */
  readonly values: Uint8Array[];
}

/** map_flags, linux/bpf.h: user space may only read. */
const userReadOnly = 8;

/**
 * A map as user space sees it: the main thread's way to read and change maps while workers run.
 * All it returns are copies. Keys and values of a wrong length throw a RangeError; an operation
 * that waited a second for a worker that died holding the map's lock throws a UserError.
 */
export class MapAccess {
  readonly handle: MapHandle;
  readonly #arena: Arena;
  readonly #runtime: MapRuntime;
  readonly #map: number;
  readonly #scratch: number;
  readonly #layout: ScratchLayout;
  readonly #valueStride: number;

  constructor(handle: MapHandle, arena: Arena, runtime: MapRuntime) {
    this.handle = handle;
    this.#arena = arena;
    this.#runtime = runtime;
    this.#map = handle.descriptor;
    this.#scratch = arena.view.getUint32(handle.descriptor + MAP_SCRATCH, true);
    this.#layout = scratchLayout(handle, handle.cpus);
    this.#valueStride = valueStride(handle.valueSize);
  }

  /**
   * Entries there are now; for arrays, whose entries always exist, all of them. Costs a walk for
   * arrays of references, which count nothing; 0 for types whose entries nobody can list.
   */
  get count(): number {
    const { type, maxEntries } = this.handle;
    switch (type) {
      case "array":
      case "percpu_array":
        return maxEntries;
      case "queue":
      case "stack": {
        const slots = this.#word(MAP_ELEMENT_COUNT);
        return (this.#word(MAP_HEAD) + slots - this.#word(MAP_TAIL)) % slots;
      }
      case "devmap":
      case "prog_array":
      case "array_of_maps":
      case "cpumap":
      case "xskmap": {
        let count = 0;
        for (const _entry of this.entries()) count++;
        return count;
      }
      default:
        return this.#word(MAP_COUNT);
    }
  }

  /** Whether user space may change it: by its flags, and as it is not frozen. */
  get isWritable(): boolean {
    return (this.handle.flags & userReadOnly) === 0 && this.handle.frozen !== true;
  }

  #word(at: number): number {
    return this.#arena.view.getUint32(this.#map + at, true);
  }

  /**
   * The values of `key`, one a CPU, or undefined. Does not count as a use of an LRU entry. A queue or
   * stack, whose key has no bytes, shows what it would pop.
   */
  lookup(key: Uint8Array): Uint8Array[] | undefined {
    const { type } = this.handle;
    if (type === "bloom_filter" || holdsEvents(type)) return undefined;
    const values = this.#scratch + this.#layout.values;
    const result = this.#runtime.read(this.#map, this.#putKey(key), values);
    if (result === -errno.ENOENT) return undefined;
    this.#checkBusy(result);
    return this.#values(this.#arena.bytes, values);
  }

  /** Takes out what `lookup` of a queue or stack shows, `BPF_MAP_LOOKUP_AND_DELETE_ELEM`. */
  pop(): Uint8Array | undefined {
    const at = this.#scratch + this.#layout.values;
    const result = this.#runtime.pop(this.#map, at, MAIN_THREAD);
    this.#checkBusy(result);
    if (result !== 0) return undefined;
    return this.#arena.bytes.slice(at, at + this.handle.valueSize);
  }

  /** Whether a bloom filter may hold the value; what it does not hold for sure was never pushed. */
  mayHold(value: Uint8Array): boolean {
    const at = this.#scratch + this.#layout.values;
    this.#putValue(value, at);
    return this.#runtime.peek(this.#map, at, MAIN_THREAD) === 0;
  }

  /**
   * `BPF_MAP_UPDATE_ELEM`: 0 or -errno. A per-CPU map takes a value for each CPU, or one that all
   * get. What has no keys is pushed to. A map of maps takes a map's descriptor.
   */
  update(key: Uint8Array, value: Uint8Array | readonly Uint8Array[], flags = UPDATE_ANY): number {
    return this.isWritable ? this.initialize(key, value, flags) : -errno.EPERM;
  }

  /** `update` that heeds no write protection: for a map's first contents. */
  initialize(
    key: Uint8Array,
    value: Uint8Array | readonly Uint8Array[],
    flags = UPDATE_ANY,
  ): number {
    const keyAt = this.#putKey(key);
    const valuesAt = this.#scratch + this.#layout.values;
    const { cpus } = this.handle;
    const isOne = value instanceof Uint8Array;
    if (!isOne && value.length !== cpus)
      throw new RangeError(`${this.#where}: ${value.length} values, expected ${cpus}`);
    for (let cpu = 0; cpu < cpus; cpu++)
      this.#putValue(
        isOne ? value : (value[cpu] as Uint8Array),
        valuesAt + cpu * this.#valueStride,
      );
    if (holdsMaps(this.handle.type)) {
      const refusal = innerMapRefusal(
        this.handle,
        this.#arena,
        this.#arena.view.getUint32(valuesAt, true),
      );
      if (refusal !== 0) return refusal;
    }
    const result = this.#runtime.updateAll(this.#map, keyAt, valuesAt, flags);
    this.#checkBusy(result);
    return result;
  }

  /**
   * Writes bytes within a data section, whose one value holds variables that programs write
   * meanwhile: a number of 4 or 8 bytes that lies as C aligns it changes at once, and nothing else
   * does. 0 or -errno.
   */
  updateWithin(offset: number, bytes: Uint8Array): number {
    const { type, maxEntries, valueSize } = this.handle;
    if (type !== "array" || maxEntries !== 1 || offset + bytes.length > valueSize)
      throw new RangeError(`${this.#where}: no ${bytes.length} bytes at ${offset}`);
    if (!this.isWritable) return -errno.EPERM;
    const at = this.#word(MAP_VALUES) + offset;
    const { view } = this.#arena;
    const given = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes.length === 4 && at % 4 === 0)
      Atomics.store(new Int32Array(view.buffer, at, 1), 0, given.getInt32(0, true));
    else if (bytes.length === 8 && at % 8 === 0)
      Atomics.store(new BigInt64Array(view.buffer, at, 1), 0, given.getBigInt64(0, true));
    else this.#arena.bytes.set(bytes, at);
    return 0;
  }

  /** Puts a map into a map of maps: 0 or -errno. */
  putMap(key: Uint8Array, inner: MapHandle): number {
    return this.initialize(key, innerMapValue(inner));
  }

  /** Whether a map of maps takes maps like this one. */
  takes(inner: MapHandle): boolean {
    return takesMap(this.handle, inner);
  }

  /** `BPF_MAP_DELETE_ELEM`: 0 or -errno. */
  remove(key: Uint8Array): number {
    return this.isWritable ? this.discard(key) : -errno.EPERM;
  }

  /** `remove` that heeds no write protection: for what `initialize` put there. */
  discard(key: Uint8Array): number {
    const result = this.#runtime.remove(this.#map, this.#putKey(key), MAIN_THREAD);
    this.#checkBusy(result);
    return result;
  }

  /**
   * `BPF_MAP_GET_NEXT_KEY`: the key after `key`, the first without one or where it is gone. Undefined
   * for types without keys.
   */
  nextKey(key?: Uint8Array): Uint8Array | undefined {
    const keyAt = key === undefined ? 0 : this.#putKey(key);
    const out = this.#scratch + this.#layout.nextKey;
    const result = this.#runtime.nextKey(this.#map, keyAt, out);
    this.#checkBusy(result);
    if (result !== 0) return undefined;
    return this.#arena.bytes.slice(out, out + this.handle.keySize);
  }

  /**
   * All entries, each a copy, while workers go on writing: what is there from start to end comes
   * once, what comes or goes meanwhile may. Several walks may go on at the same time.
   */
  *entries(): IterableIterator<MapContent> {
    const { batch, cursor, cursorBytes, capacity, entry } = this.#layout;
    const { keySize } = this.handle;
    const cursorAt = this.#scratch + cursor;
    const batchAt = this.#scratch + batch;
    const valuesAt = entry - this.handle.cpus * this.#valueStride;
    const position = new Uint8Array(cursorBytes);
    for (let isEnd = false; !isEnd; ) {
      this.#arena.bytes.set(position, cursorAt);
      const count = this.#runtime.scan(this.#map, cursorAt, batchAt, capacity);
      this.#checkBusy(count);
      const bytes = this.#arena.bytes;
      position.set(bytes.subarray(cursorAt, cursorAt + cursorBytes));
      isEnd = this.#arena.view.getUint32(cursorAt + CURSOR_POSITION, true) === CURSOR_END;
      const entries = bytes.slice(batchAt, batchAt + count * entry);
      for (let at = 0; at < entries.length; at += entry)
        yield {
          key: entries.slice(at, at + keySize),
          values: this.#values(entries, at + valuesAt),
        };
    }
  }

  #values(bytes: Uint8Array, at: number): Uint8Array[] {
    const { cpus, valueSize } = this.handle;
    const values: Uint8Array[] = [];
    for (let cpu = 0; cpu < cpus; cpu++) {
      const start = at + cpu * this.#valueStride;
      values.push(bytes.slice(start, start + valueSize));
    }
    return values;
  }

  #putKey(key: Uint8Array): number {
    if (key.length !== this.handle.keySize)
      throw new RangeError(
        `${this.#where}: key of ${key.length} bytes, expected ${this.handle.keySize}`,
      );
    const at = this.#scratch + this.#layout.key;
    this.#arena.bytes.set(key, at);
    return at;
  }

  #putValue(value: Uint8Array, at: number): void {
    const { valueSize } = this.handle;
    if (value.length !== valueSize)
      throw new RangeError(`${this.#where}: value of ${value.length} bytes, expected ${valueSize}`);
    this.#arena.bytes.set(value, at);
  }

  #checkBusy(result: number): void {
    if (result === -errno.EBUSY)
      throw new UserError(
        "MAP_BUSY",
        this.#where,
        "a worker has held its lock for a second",
        "try again: the map is repaired once that worker is known to be dead",
      );
  }

  get #where(): string {
    return `map ${this.handle.name}`;
  }
}

import { errno } from "../common/errno.ts";
import { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import { formatTyped, parseTyped } from "../maps/typed.ts";
import type { Btf } from "../object/btf.ts";
import { holdsEvents } from "../object/map-rules.ts";
import type { MapSpec, MapType } from "../object/object-spec.ts";
import { isBytes } from "./arguments.ts";

/**
 * How what a map holds is found by name, where its values are programs or maps.
 * @internal
 */
export interface References {
  /** Puts a program into a prog_array. */
  putProgram(index: Uint8Array, name: unknown): void;
  /** Forgets what `putProgram` put into a slot; false where it put nothing. */
  removeProgram(index: Uint8Array): boolean;
  /** Puts a map of the object into a map of maps: 0 or -errno. */
  putMap(key: Uint8Array, name: unknown): number;
  /** The name behind a value of a prog_array or a map of maps. */
  nameOf(key: Uint8Array, value: Uint8Array): string | undefined;
}

/**
 * A map of a loaded object, as user space sees it.
 *
 * Keys and values are read and written by their BTF types: numbers (as text beyond 2⁵³), addresses
 * and prefixes as text, structs as objects by member, arrays as lists; without a type as a number of
 * 1, 2, 4 or 8 bytes, or `hex:` and the bytes. A `Uint8Array` stands for itself wherever a key or a
 * value is given. Values of a prog_array are names of programs, those of a map of maps names of maps.
 * The slots of a prog_array are filled when a program that uses it is first asked for.
 * Per-CPU maps have one value a key: programs run on CPU 0, the only one.
 *
 * Methods throw a UserError for a key or a value that its type does not take (`VALUE_…`) and where
 * the map refuses (`MAP_…`).
 */
export class LoadedMap<Key = unknown, Value = unknown> {
  /** As the object has it; `.rodata`, `.data` and `.bss` hold global variables. */
  readonly name: string;
  /** As the object declares it. */
  readonly type: MapType;
  /** Bytes. */
  readonly keySize: number;
  /** Bytes. */
  readonly valueSize: number;
  /** Entries it has room for. */
  readonly maxEntries: number;
  readonly #spec: MapSpec;
  readonly #btf: Btf | undefined;
  readonly #access: () => MapAccess;
  readonly #references: References;

  private constructor(
    spec: MapSpec,
    btf: Btf | undefined,
    access: () => MapAccess,
    references: References,
  ) {
    this.name = spec.name;
    this.type = spec.type;
    this.keySize = spec.keySize;
    this.valueSize = spec.valueSize;
    // A perf_event_array that leaves it open has an entry for each CPU.
    this.maxEntries = access().handle.maxEntries;
    this.#spec = spec;
    this.#btf = btf;
    this.#access = access;
    this.#references = references;
  }

  /**
   * What `LoadedObject.map` gives.
   * @internal
   */
  static of<Key, Value>(
    spec: MapSpec,
    btf: Btf | undefined,
    access: () => MapAccess,
    references: References,
  ): LoadedMap<Key, Value> {
    return new LoadedMap(spec, btf, access, references);
  }

  /** Entries there are: of an array all, of what nobody can list none. */
  get size(): number {
    return this.#access().count;
  }

  /** The value of a key, or undefined. Of a queue or a stack, without a key, what `pop` would give. */
  get(key?: Key | Uint8Array): Value | undefined {
    const bytes = this.#key(key);
    const value = this.#lookup(bytes);
    return value === undefined ? undefined : this.#shown(bytes, value);
  }

  /** The bytes of the value of a key, or undefined. */
  getBytes(key?: Key | Uint8Array): Uint8Array | undefined {
    return this.#lookup(this.#key(key));
  }

  /** Whether there is an entry for a key; of a queue or a stack, without a key, any at all. */
  has(key?: Key | Uint8Array): boolean {
    return this.#lookup(this.#key(key)) !== undefined;
  }

  /** Puts in an entry, or replaces the value of one. */
  set(key: Key | Uint8Array, value: Value | Uint8Array, ...surplus: never[]): this {
    if (surplus.length > 0)
      throw new UserError(
        "ARGUMENT_UNKNOWN",
        `map ${this.name}, set`,
        `was given ${2 + surplus.length} arguments`,
        "give a key and a value; there are no flags",
      );
    if (key === undefined && this.keySize === 0) {
      this.push(value);
      return this;
    }
    const bytes = this.#key(key);
    if (this.type === "prog_array" && !isBytes(value)) {
      this.#references.putProgram(bytes, value);
      return this;
    }
    if (this.#spec.inner !== undefined && !isBytes(value))
      this.#check(this.#references.putMap(bytes, value), "set");
    else this.#check(this.#access().update(bytes, this.#value(value)), "set");
    return this;
  }

  /** Takes an entry out; false where there was none. */
  delete(key: Key | Uint8Array): boolean {
    const bytes = this.#key(key);
    const isForgotten = this.type === "prog_array" && this.#references.removeProgram(bytes);
    const result = this.#access().remove(bytes);
    if (result === -errno.ENOENT) return isForgotten;
    this.#check(result, "delete");
    return true;
  }

  /** Puts a value into a queue, a stack or a bloom filter. */
  push(value: Value | Uint8Array): void {
    if (this.keySize !== 0 || holdsEvents(this.type)) throw this.#refused("push", -errno.EINVAL);
    this.#check(this.#access().update(new Uint8Array(0), this.#value(value)), "push");
  }

  /** Takes the next value out of a queue or a stack; undefined from an empty one. */
  pop(): Value | undefined {
    if (this.type !== "queue" && this.type !== "stack") throw this.#refused("pop", -errno.EINVAL);
    const value = this.#access().pop();
    return value === undefined ? undefined : this.#shown(new Uint8Array(0), value);
  }

  /** Whether a bloom filter may hold a value; what it does not hold for sure was never pushed. */
  mayHold(value: Value | Uint8Array): boolean {
    if (this.type !== "bloom_filter") throw this.#refused("mayHold", -errno.EINVAL);
    return this.#access().mayHold(this.#value(value));
  }

  /** All entries, in the order the map has them. */
  *entries(): IterableIterator<[Key, Value]> {
    for (const { key, values } of this.#access().entries())
      yield [
        formatTyped(this.#btf, this.#spec.keyType, key) as Key,
        this.#shown(key, values[0]!) as Value,
      ];
  }

  /** All entries as bytes. */
  *entriesBytes(): IterableIterator<[Uint8Array, Uint8Array]> {
    for (const { key, values } of this.#access().entries()) yield [key, values[0]!];
  }

  /** As `entries`, so that `new Map(map)` and `[...map]` work. */
  [Symbol.iterator](): IterableIterator<[Key, Value]> {
    return this.entries();
  }

  #lookup(key: Uint8Array): Uint8Array | undefined {
    return this.#access().lookup(key)?.[0];
  }

  #shown(key: Uint8Array, value: Uint8Array): Value {
    const name = this.#references.nameOf(key, value);
    return (name ?? formatTyped(this.#btf, this.#spec.valueType, value)) as Value;
  }

  #key(key: Key | Uint8Array | undefined): Uint8Array {
    if (this.keySize === 0) {
      if (key === undefined) return new Uint8Array(0);
      throw new UserError(
        "MAP_NO_KEYS",
        `map ${this.name}, key`,
        `maps of type ${this.type} have no keys`,
        holdsEvents(this.type)
          ? "what programs write there is among a run's events"
          : "leave it out: push(value), get()",
      );
    }
    return this.#bytes("key", this.#spec.keyType, this.keySize, key);
  }

  #value(value: Value | Uint8Array): Uint8Array {
    return this.#bytes("value", this.#spec.valueType, this.valueSize, value);
  }

  #bytes(part: string, type: number | undefined, size: number, given: unknown): Uint8Array {
    const where = `map ${this.name}, ${part}`;
    if (isBytes(given)) {
      if (given.length === size) return given;
      throw new UserError("VALUE_RANGE", where, `${given.length} bytes`, `give ${size}`);
    }
    const bytes = parseTyped(this.#btf, type, size, given);
    if (bytes.ok) return bytes.value;
    const { code, where: within, what, fix, detail } = bytes.error;
    throw new UserError(code, `${where}${within.slice("value".length)}`, what, fix, detail);
  }

  #check(result: number, operation: string): void {
    if (result !== 0) throw this.#refused(operation, result);
  }

  #refused(operation: string, result: number): UserError {
    return new UserError(
      "MAP_REFUSED",
      `map ${this.name}, ${operation}`,
      reasons[-result] ?? `the map refuses it: error ${-result} (errno(3))`,
      `its type is ${this.type}, and it takes ${this.maxEntries} entries`,
    );
  }
}

/** What a map's errors mean to who calls it. */
const reasons: Readonly<Record<number, string>> = {
  [errno.E2BIG]: "the key is beyond max_entries, or the map is full",
  [errno.EINVAL]: "maps of this type do not do that",
  [errno.ENOTSUPP]: "maps of this type do not do that",
  [errno.EOPNOTSUPP]: "maps of this type do not do that",
  [errno.EPERM]: "its flags, or the object, let nobody write to it",
  [errno.EBADF]: "there is no such map",
};

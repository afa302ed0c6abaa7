import { toHex } from "../common/bytes.ts";
import type { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { EntryBytes } from "./config.ts";
import { refusedEntry } from "./refused-entry.ts";

/** Changes to a map in use, which can be taken back while nobody else has changed the same keys. */
export class MapEdits {
  readonly #map: MapAccess;
  /** What to write to take the changes back, in their order; no values: to remove. */
  readonly #before: { readonly key: Uint8Array; readonly values: Uint8Array[] | undefined }[] = [];

  constructor(map: MapAccess) {
    this.#map = map;
  }

  /**
   * Makes the map what the config now declares. Entries that it no longer has are removed (those of
   * an array become 0), new and changed ones written, missing ones written again. All others stay,
   * and so does what a program made of an entry that the config has as before.
   */
  declare(before: readonly EntryBytes[], now: readonly EntryBytes[]): UserError[] {
    const old = new Map(before.map((entry) => [toHex(entry.key), entry]));
    const kept = new Set(now.map((entry) => toHex(entry.key)));
    const errors: UserError[] = [];
    for (const [text, { key, where }] of old) if (!kept.has(text)) this.#remove(key, where, errors);
    for (const entry of now) {
      const was = old.get(toHex(entry.key));
      const isSame = was !== undefined && toHex(was.value) === toHex(entry.value);
      if (isSame && this.#map.lookup(entry.key) !== undefined) continue;
      this.#write(entry, errors);
    }
    return errors;
  }

  /** Takes all changes back, the last first. */
  undo(): void {
    for (const { key, values } of this.#before.splice(0).reverse())
      if (values === undefined) this.#map.discard(key);
      else this.#map.initialize(key, values);
  }

  #write({ key, value, where }: EntryBytes, errors: UserError[]): void {
    const values = this.#map.lookup(key);
    const result = this.#map.initialize(key, value);
    if (result === 0) this.#before.push({ key, values });
    else errors.push(refusedEntry(this.#map, where, result));
  }

  #remove(key: Uint8Array, where: string, errors: UserError[]): void {
    const { type, valueSize } = this.#map.handle;
    const values = this.#map.lookup(key);
    if (values === undefined) return;
    if (type === "array" || type === "percpu_array") {
      this.#write({ key, value: new Uint8Array(valueSize), where }, errors);
      return;
    }
    const result = this.#map.discard(key);
    if (result === 0) this.#before.push({ key, values });
    else errors.push(refusedEntry(this.#map, where, result));
  }
}

/** Copies all entries of `from` to `to`, a larger map of the same schema. */
export function copyEntries(from: MapAccess, to: MapAccess): void {
  for (const { key, values } of from.entries()) {
    const result = to.initialize(key, values);
    if (result !== 0)
      throw new Error(`map ${to.handle.name}: error ${-result} for an entry that it had before`);
  }
}

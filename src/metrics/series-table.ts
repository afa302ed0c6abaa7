import { type CompiledLabel, decodeLabels } from "./decoders/compile-label.ts";
import { renderLabels } from "./exposition.ts";

/** Lines one metric may have in a scrape by default; each bucket of a histogram is one. */
export const maxSeries = 10_000;

/** Keys whose labels are remembered between scrapes; those of a larger map are decoded again. */
const maxRememberedKeys = 65_536;

interface Series<Values> {
  readonly labels: string;
  readonly values: Values;
  scrape: number;
}

interface Remembered<Values> {
  readonly key: Uint8Array;
  /** Undefined: a decoder leaves the key out, or the cap does. */
  series: Series<Values> | undefined;
  /** Where the cap left the key out: how many series had been admitted by then. */
  leftOutAt: number | undefined;
  scrape: number;
  /** Index in the order of the scrape that met it last. */
  position: number;
}

/**
 * The series of one metric, found by map key. Labels are decoded and rendered once and remembered
 * as long as the key is in the map. Keys that decode to the same labels share a series. Above
 * the cap new series are left out and counted; those that are in stay in, so that what Prometheus
 * already knows does not come and go.
 */
export class SeriesTable<Values> {
  readonly #labels: readonly CompiledLabel[];
  readonly #names: readonly string[];
  readonly #cap: number;
  readonly #create: () => Values;
  readonly #reset: (values: Values) => void;
  readonly #series = new Map<string, Series<Values>>();
  readonly #keys = new Map<string, Remembered<Values>>();
  /** The keys as the last scrape met them: mostly this one meets them in the same order. */
  #lastOrder: Remembered<Values>[] = [];
  #order: Remembered<Values>[] = [];
  /** Index in the last order of the key expected next. */
  #expected = 0;
  #scrape = 0;
  #admitted = 0;
  #dropped = 0;

  /** `create` makes a series' values, zero; `reset` makes them zero again for the next scrape. */
  constructor(
    labels: readonly CompiledLabel[],
    cap: number,
    create: () => Values,
    reset: (values: Values) => void,
  ) {
    this.#labels = labels;
    this.#names = labels.map(({ name }) => name);
    this.#cap = cap;
    this.#create = create;
    this.#reset = reset;
  }

  /** Map entries left out so far because the metric had its most series, over all scrapes. */
  get dropped(): number {
    return this.#dropped;
  }

  begin(): void {
    this.#scrape++;
    this.#lastOrder = this.#order;
    this.#order = [];
    this.#expected = 0;
  }

  /**
   * The values to add an entry's number to. Undefined: the entry is left out, or came before in
   * this scrape (as one may that a filter deletes and adds again during the walk).
   */
  find(key: Uint8Array): Values | undefined {
    let known = this.#recall(key);
    if (known === undefined) known = this.#learn(key);
    else {
      if (known.scrape === this.#scrape) return undefined;
      known.scrape = this.#scrape;
      this.#expected = known.position + 1;
      known.position = this.#order.push(known) - 1;
      const wasLeftOut = known.leftOutAt !== undefined;
      if (wasLeftOut && (known.leftOutAt !== this.#admitted || !this.#isFull)) this.#place(known);
    }
    if (known.leftOutAt !== undefined) this.#dropped++;
    return this.#touch(known.series);
  }

  /** Calls `write` for each series of this scrape, and forgets those whose keys are gone. */
  end(write: (labels: string, values: Values) => void): void {
    for (const [labels, series] of this.#series) {
      if (series.scrape === this.#scrape) write(labels, series.values);
      else this.#series.delete(labels);
    }
    if (this.#order.length === this.#keys.size) return;
    for (const [key, { scrape }] of this.#keys) if (scrape !== this.#scrape) this.#keys.delete(key);
  }

  /** What is known of a key. Hashing it would be most of a scrape's time, and is seldom needed. */
  #recall(key: Uint8Array): Remembered<Values> | undefined {
    const expected = this.#lastOrder[this.#expected];
    if (expected !== undefined && sameBytes(expected.key, key)) return expected;
    return this.#keys.get(keyText(key));
  }

  #learn(key: Uint8Array): Remembered<Values> {
    const position = this.#order.length;
    const scrape = this.#scrape;
    const learnt = { key, series: undefined, leftOutAt: undefined, scrape, position };
    this.#place(learnt);
    if (this.#keys.size < maxRememberedKeys) {
      this.#keys.set(keyText(key), learnt);
      this.#order.push(learnt);
    }
    return learnt;
  }

  /** Decodes a key and finds its series, or makes one if there is room. */
  #place(entry: Remembered<Values>): void {
    entry.leftOutAt = undefined;
    const values = decodeLabels(this.#labels, entry.key);
    if (values === undefined) return;
    const labels = renderLabels(this.#names, values);
    entry.series = this.#series.get(labels);
    if (entry.series !== undefined) return;
    if (this.#isFull) {
      entry.leftOutAt = this.#admitted;
      return;
    }
    entry.series = { labels, values: this.#create(), scrape: this.#scrape };
    this.#series.set(labels, entry.series);
    this.#admitted++;
  }

  get #isFull(): boolean {
    return this.#series.size >= this.#cap;
  }

  #touch(series: Series<Values> | undefined): Values | undefined {
    if (series === undefined) return undefined;
    if (series.scrape !== this.#scrape) {
      series.scrape = this.#scrape;
      this.#reset(series.values);
    }
    return series.values;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A key as a Map's key: one character a byte. */
function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

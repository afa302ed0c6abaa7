import { describedMap, type MapHandle } from "../maps/map-handle.ts";
import type { MapType } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  F_RDONLY_PROG,
  F_WRONLY_PROG,
  MAP_VALUE_COUNT,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
} from "../runtime/wasm/layout.ts";

/** Maps whose values are no program's to see. */
const valuesOutOfReach: readonly MapType[] = [
  "prog_array",
  "array_of_maps",
  "hash_of_maps",
  "cpumap",
];

/** Inner maps that are remembered; more are found anew. */
const keptInnerMaps = 4096;

/** Values of one map: object i lies at low + i × stride and is `size` long. */
export interface ValueRange {
  readonly map: MapHandle;
  readonly low: number;
  readonly high: number;
  readonly stride: number;
  readonly size: number;
  readonly readable: boolean;
  readonly writable: boolean;
}

/**
 * The maps that one program may use in a run, and where their values lie: those that its instructions
 * name, and those that the run has looked up in maps of maps.
 */
export class ReachableMaps {
  readonly #named: readonly MapHandle[];
  readonly #descriptors: Int32Array;
  readonly #values: readonly ValueRange[];
  /** That this run has looked up in maps of maps, and all that any has. */
  readonly #reached: ValueRange[] = [];
  readonly #inner = new Map<number, ValueRange>();
  readonly #arena: Pick<Arena, "view">;

  /** `named`: the maps that instructions of the program name, and no others. */
  constructor(named: readonly MapHandle[], arena: Pick<Arena, "view">) {
    this.#named = named;
    this.#arena = arena;
    this.#descriptors = Int32Array.from(named, (map) => map.descriptor);
    this.#values = named
      .filter(({ type }) => !valuesOutOfReach.includes(type))
      .map((map) => valueRange(map, arena.view));
  }

  /** A run begins: what the last one looked up is out of reach. */
  enter(): void {
    if (this.#reached.length > 0) this.#reached.length = 0;
  }

  /** The map whose descriptor this register pair holds, if the program may use it. */
  at(low: number, high: number): MapHandle | undefined {
    if (high !== 0) return undefined;
    const descriptors = this.#descriptors;
    for (let i = 0; i < descriptors.length; i++) if (descriptors[i] === low) return this.#named[i];
    for (const { map } of this.#reached) if (map.descriptor === low) return map;
    return undefined;
  }

  /** From here on to the end of the run the program may use the map that it found in `outer`. */
  reach(outer: MapHandle, descriptor: number): void {
    if (this.#reached.some(({ map }) => map.descriptor === descriptor)) return;
    const known = this.#inner.get(descriptor);
    const { view } = this.#arena;
    // Storage may have been given to another map since.
    if (known !== undefined && isStill(known, view)) this.#reached.push(known);
    else {
      const range = valueRange(describedMap(`${outer.name}.inner`, descriptor, view), view);
      if (this.#inner.size >= keptInnerMaps) this.#inner.clear();
      this.#inner.set(descriptor, range);
      this.#reached.push(range);
    }
  }

  /** The map with a spin lock at this address of one of its values. */
  spinLockAt(low: number, high: number): MapHandle | undefined {
    if (high !== 0) return undefined;
    const range = this.rangeAt(low);
    if (range?.map.spinLock === undefined) return undefined;
    const offset = (low - range.low) % range.stride;
    return offset === range.map.spinLock ? range.map : undefined;
  }

  /** The map that has this address in its values, and where they lie. */
  rangeAt(address: number): ValueRange | undefined {
    for (const values of this.#values)
      if (address >= values.low && address < values.high) return values;
    for (const values of this.#reached)
      if (address >= values.low && address < values.high) return values;
    return undefined;
  }

  /** Whether an address lies in a value that no program writes. */
  isConstant(low: number, high: number): boolean {
    return (
      high === 0 && this.#values.some((one) => low >= one.low && low < one.high && one.map.readOnly)
    );
  }
}

function isStill({ map, low, size }: ValueRange, view: DataView): boolean {
  const now = describedMap(map.name, map.descriptor, view);
  return (
    now.type === map.type &&
    now.keySize === map.keySize &&
    now.maxEntries === map.maxEntries &&
    now.flags === map.flags &&
    now.spinLock === map.spinLock &&
    now.valueSize === size &&
    view.getUint32(map.descriptor + MAP_VALUES, true) + (map.type === "xskmap" ? 4 : 0) === low
  );
}

function valueRange(map: MapHandle, view: DataView): ValueRange {
  const isSocket = map.type === "xskmap";
  // What a program sees of an xskmap lies behind what user space put there.
  const low = view.getUint32(map.descriptor + MAP_VALUES, true) + (isSocket ? 4 : 0);
  const stride = view.getUint32(map.descriptor + MAP_VALUE_STRIDE, true);
  const count = view.getUint32(map.descriptor + MAP_VALUE_COUNT, true);
  const deviceMap = map.type === "devmap" || map.type === "devmap_hash" || isSocket;
  return {
    map,
    low,
    high: low + stride * count,
    stride,
    size: map.valueSize,
    readable: (map.flags & F_WRONLY_PROG) === 0,
    writable: !map.readOnly && !deviceMap && (map.flags & F_RDONLY_PROG) === 0,
  };
}

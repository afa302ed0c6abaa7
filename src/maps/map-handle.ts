import type { MapType } from "../object/object-spec.ts";

/**
 * A map that has storage: what crosses threads. `descriptor` is its arena offset, which is also
 * what an eBPF register holds; the other fields repeat what the descriptor says, for TypeScript.
 */
export interface MapHandle {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly cpus: number;
  readonly descriptor: number;
  /** Programs may not write its values (`.rodata`, BPF_F_RDONLY_PROG). */
  readonly readOnly: boolean;
  /** Nor may user space, once it is filled: `.rodata`, whose values programs are compiled with. */
  readonly frozen?: boolean;
}

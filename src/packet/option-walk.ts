import { u8 } from "../common/bytes.ts";

/**
 * The options behind an IPv4 or TCP header: both are kinds 0 (end) and 1 (no operation) of one
 * byte, and any other kind with a length byte that counts itself and the kind. RFC 791 §3.1,
 * RFC 9293 §3.1. No-operations are stepped over.
 *
 *     walk.bind(bytes, optionsAt, optionsEnd);
 *     while (walk.next()) use(walk.kind, walk.dataAt, walk.dataBytes);
 */
export class OptionWalk {
  #bytes: Uint8Array = new Uint8Array(0);
  #next = 0;
  #end = 0;
  /** Of the option that `next` came to. */
  kind = 0;
  dataAt = 0;
  dataBytes = 0;
  /** Whether the walk ended at a length that cannot be. */
  malformed = false;

  bind(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.#next = at;
    this.#end = end;
    this.malformed = false;
  }

  /** Goes to the next option; false at the end of the list, or at a malformed option. */
  next(): boolean {
    while (this.#next < this.#end) {
      const at = this.#next;
      const kind = u8(this.#bytes, at);
      if (kind === 0) break;
      if (kind === 1) {
        this.#next = at + 1;
        continue;
      }
      const length = at + 1 < this.#end ? u8(this.#bytes, at + 1) : 0;
      if (length < 2 || length > this.#end - at) {
        this.malformed = true;
        break;
      }
      this.kind = kind;
      this.dataAt = at + 2;
      this.dataBytes = length - 2;
      this.#next = at + length;
      return true;
    }
    this.#next = this.#end;
    return false;
  }
}

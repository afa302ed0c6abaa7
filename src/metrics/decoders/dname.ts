import { type Decoder, encodeText } from "./decoder.ts";

const dot = 0x2e;
/** RFC 1035 §2.3.4; a larger first byte is a compression pointer, which means nothing in a key. */
const maxLabelBytes = 63;

/**
 * A DNS name in wire form (RFC 1035 §3.1) with dots: `\x07example\x03com\x00` as `example.com`, the
 * root as `.`. It ends at the empty label or with the input, so that it reads a fixed array with
 * or without `string` before it. What is no name is passed on as it is, as ebpf_exporter does.
 */
export const decodeDname: Decoder = (input) => {
  const out = new Uint8Array(input.length);
  let length = 0;
  for (let at = 0; at < input.length; ) {
    const size = input[at] as number;
    if (size === 0) break;
    const start = at + 1;
    if (size > maxLabelBytes || start + size > input.length) return input;
    if (length > 0) out[length++] = dot;
    out.set(input.subarray(start, start + size), length);
    length += size;
    at = start + size;
  }
  return length === 0 ? encodeText(".") : out.subarray(0, length);
};

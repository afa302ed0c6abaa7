/** What a decoder gives for a key that is to be left out of its metric altogether. */
export const skip: unique symbol = Symbol("skip");

/**
 * One step from key bytes to a label: bytes in, bytes out, so that steps chain as ebpf_exporter's
 * do. Keys come from filters and so from packets: a decoder takes any bytes, never throws, and its
 * output is at most twice its input's length or 160 bytes, whichever is more.
 */
export type Decoder = (input: Uint8Array) => Uint8Array | typeof skip;

/** A decoder that could not be made from its spec. `path` leads from the decoder to the fault. */
export interface DecoderProblem {
  readonly path: readonly (string | number)[];
  readonly what: string;
  readonly fix: string;
}

const encoder = new TextEncoder();
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** UTF-8 to text; what is not UTF-8 becomes U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  return lossy.decode(bytes);
}

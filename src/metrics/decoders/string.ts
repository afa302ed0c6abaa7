import type { Decoder } from "./decoder.ts";

/** Bytes up to the first NUL, or all of them: a C string in a fixed array. */
export const decodeString: Decoder = (input) => {
  const end = input.indexOf(0);
  return end === -1 ? input : input.subarray(0, end);
};

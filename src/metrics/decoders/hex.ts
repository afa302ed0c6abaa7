import { toHex } from "../../common/bytes.ts";
import { type Decoder, encodeText } from "./decoder.ts";

/** Every byte as two lower-case digits. */
export const decodeHex: Decoder = (input) => encodeText(toHex(input));

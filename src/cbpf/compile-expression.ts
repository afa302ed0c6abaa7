import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { emit } from "./emit.ts";
import { tokenise } from "./expression/lexer.ts";
import { parseExpression } from "./expression/parser.ts";
import { Refusal } from "./expression/refusal.ts";
import { generate } from "./generate/generate.ts";
import type { ClassicProgram } from "./instruction.ts";
import type { LinkType } from "./link-type.ts";
import { code } from "./opcode.ts";
import { optimise } from "./optimise/optimise.ts";

export interface CompileOptions {
  readonly linkType: LinkType;
  /** What the program returns for a match: the bytes to keep. 262144, as tcpdump's, if left out. */
  readonly snapLength?: number;
  /** Netmask of the interface, unsigned; without it `ip broadcast` is refused. */
  readonly netmask?: number;
  /** On, if left out. */
  readonly optimise?: boolean;
  /**
   * Whether packets come with Linux's metadata, as from a live capture: VLAN tags beside the frame,
   * direction and interface. Off, if left out, as for capture files.
   */
  readonly linuxExtensions?: boolean;
  /**
   * Whether packets come from a capture of the big-endian byte order, which the address family in
   * front of NULL packets has, as libpcap takes it. Off, if left out.
   */
  readonly bigEndian?: boolean;
  /**
   * How many headers `protochain` walks over at most. Left out, it walks on in a loop, as libpcap's
   * does: such a program runs in the reference interpreter only. With a limit it has no loop, and
   * can be translated.
   */
  readonly maxChainedHeaders?: number;
}

export const defaultSnapLength = 262_144;

/**
 * Compiles an expression in the language of pcap-filter(7), libpcap 1.10, to classic BPF.
 *
 * The stages: tokens, syntax tree, blocks (generate), fewer blocks (optimise), instructions (emit).
 * An error points at the column, counted from 1 in UTF-16 units. With the optimiser on, an
 * expression that no packet can match is refused, as libpcap does.
 */
export function compileExpression(
  text: string,
  options: CompileOptions,
): Result<ClassicProgram, UserError> {
  const { linkType, snapLength = defaultSnapLength, netmask, linuxExtensions = false } = options;
  if (snapLength === 0)
    return err(
      new UserError(
        "EXPRESSION_MEANING",
        "snapLength",
        "a snap length of 0 rejects all packets",
        "give the number of bytes to keep",
      ),
    );
  try {
    const tree = parseExpression(tokenise(text));
    const { root, mustNotOptimise } = generate(tree, {
      linkType,
      snapLength,
      netmask,
      linuxExtensions,
      bigEndian: options.bigEndian === true,
      maxChainedHeaders: options.maxChainedHeaders,
    });
    if (options.optimise === false || mustNotOptimise) return ok(emit(root));
    const optimised = optimise(root);
    if (optimised.code === code.returnK && optimised.k === 0)
      throw new Refusal("EXPRESSION_MEANING", 0, "no packet can match this");
    return ok(emit(optimised));
  } catch (error) {
    if (error instanceof Refusal) return err(error);
    throw error;
  }
}

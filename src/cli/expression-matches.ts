import { compileExpression } from "../cbpf/compile-expression.ts";
import type { ClassicProgram } from "../cbpf/instruction.ts";
import { runClassic } from "../cbpf/interpreter.ts";
import { linkTypeByNumber, linkTypes } from "../cbpf/link-type.ts";
import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { CapturedPacket } from "../pcap/captured-packet.ts";

/** Packets that could not be asked, as the expression has no meaning for their link type. */
export interface LeftOut {
  /** LINKTYPE_ number. */
  readonly linkType: number;
  readonly error: UserError;
  packets: number;
}

/** One expression on the packets of one capture, compiled anew for each link type in it. */
export class ExpressionMatches {
  readonly expression: string;
  /** Indices of the packets that match, from 0. */
  readonly match: number[] = [];
  readonly #netmask: { readonly netmask?: number };
  /** By link type and byte order. */
  readonly #programs = new Map<number, Result<ClassicProgram, UserError>>();
  readonly #leftOut = new Map<number, LeftOut>();
  #asked = 0;

  constructor(expression: string, netmask: { readonly netmask?: number }) {
    this.expression = expression;
    this.#netmask = netmask;
  }

  /** The next packet of the capture. */
  add(packet: CapturedPacket): void {
    const { linkType, bigEndian } = packet;
    const key = linkType * 2 + Number(bigEndian);
    let program = this.#programs.get(key);
    if (program === undefined) {
      program = this.#compile(linkType, bigEndian);
      this.#programs.set(key, program);
    }
    if (!program.ok) {
      this.#leaveOut(linkType, program.error);
      return;
    }
    this.#asked++;
    if (runClassic(program.value, { data: packet.data, length: packet.originalLength }) !== 0)
      this.match.push(packet.index);
  }

  #compile(number: number, bigEndian: boolean): Result<ClassicProgram, UserError> {
    const linkType = linkTypeByNumber(number);
    if (!linkType.ok) return linkType;
    const options = { linkType: linkType.value, bigEndian, ...this.#netmask };
    return compileExpression(this.expression, options);
  }

  #leaveOut(linkType: number, error: UserError): void {
    const before = this.#leftOut.get(linkType);
    if (before === undefined) this.#leftOut.set(linkType, { linkType, error, packets: 1 });
    else before.packets++;
  }

  /** Why no packet could be asked at all: of a capture without packets, that no link type could be. */
  get refusal(): UserError | undefined {
    if (this.#asked > 0) return undefined;
    const [first] = this.#leftOut.values();
    return first?.error ?? expressionRefusal(this.expression, this.#netmask);
  }

  /** What was passed over, where other packets were asked. */
  get leftOut(): readonly LeftOut[] {
    return this.#asked === 0 ? [] : [...this.#leftOut.values()];
  }
}

/** Why an expression is none for any link type. */
export function expressionRefusal(
  expression: string,
  netmask: { readonly netmask?: number },
): UserError | undefined {
  let first: UserError | undefined;
  for (const linkType of linkTypes) {
    const compiled = compileExpression(expression, { linkType, ...netmask });
    if (compiled.ok) return undefined;
    first ??= compiled.error;
  }
  return first;
}

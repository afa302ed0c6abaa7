import { Refusal, type RefusalCode } from "../expression/refusal.ts";
import type { LinkType } from "../link-type.ts";
import { memoryWords } from "../opcode.ts";

/** Where a header starts: a constant, and for some encapsulations what a scratch register adds. */
export interface HeaderOffset {
  readonly constant: number;
  /** Index in scratch memory, or undefined where the offset is known. */
  readonly register: number | undefined;
}

export interface GenerateOptions {
  readonly linkType: LinkType;
  readonly snapLength: number;
  /** Of the capturing interface, for `ip broadcast`; undefined where it is not known. */
  readonly netmask: number | undefined;
  /** Whether the packets carry Linux's metadata: VLAN tags out of the frame, direction, interface. */
  readonly linuxExtensions: boolean;
  readonly bigEndian: boolean;
  /** Headers that `protochain` walks over at most, without a loop; undefined for a loop. */
  readonly maxChainedHeaders: number | undefined;
}

/**
 * What an expression may come to before it is optimised, so that compiling takes seconds at most: a
 * config's filters are compiled on the thread that answers health checks. 10,000 hosts are 240,000.
 */
const maxInstructions = 250_000;

/** Link types that occur inside others only are among these too. */
export type InnerLinkType = LinkType | "PPP";

/**
 * What code generation knows at a point of the expression. `vlan`, `mpls`, `pppoes` and `geneve`
 * move the headers for everything to the right of them, also in other branches: pcap-filter(7).
 */
export class Context {
  readonly options: GenerateOptions;
  linkType: InnerLinkType;
  linkHeader: HeaderOffset = { constant: 0, register: undefined };
  /** What follows the link-layer header, or its LLC header. */
  linkPayload: HeaderOffset;
  /** The field that says what follows; undefined where a link type has none. */
  linkTypeField: HeaderOffset | undefined;
  /** Bytes from the link payload to the network header. */
  network = 0;
  /** The same where an LLC header without SNAP stands between. */
  networkWithoutSnap = 0;
  insideGeneve = false;
  mplsLabels = 0;
  vlanTags = 0;
  /** Scratch registers that hold what a VLAN tag adds to offsets, where it may be in the frame or beside it. */
  vlanRegisters: readonly number[] = [];
  /** Set by what the optimiser does not understand: jumps inside blocks. */
  mustNotOptimise = false;
  /** Where in the expression's text errors point. */
  at = 0;
  readonly #registers = new Uint8Array(memoryWords);
  #nextRegister = 0;
  #instructions = 0;

  constructor(options: GenerateOptions) {
    this.options = options;
    this.linkType = options.linkType;
    const { field, payload } = headerLayout[options.linkType];
    this.linkTypeField = field === undefined ? undefined : { constant: field, register: undefined };
    this.linkPayload = { constant: payload, register: undefined };
    if (options.linkType === "EN10MB") this.networkWithoutSnap = 3;
  }

  refuse(code: RefusalCode, what: string, fix?: string): never {
    throw new Refusal(code, this.at, what, fix);
  }

  /** Counts the instructions of a term. Called as terms are read, so that memory is bounded as well. */
  count(instructions: number): void {
    this.#instructions += instructions;
    if (this.#instructions > maxInstructions)
      this.refuse(
        "EXPRESSION_TOO_LARGE",
        `more than ${maxInstructions} instructions up to here, before optimising`,
        "keep a list as long as this in a map, as filters/blocklist.c does",
      );
  }

  /** A free word of scratch memory. */
  allocateRegister(): number {
    for (let i = 0; i < memoryWords; i++) {
      if (this.#registers[this.#nextRegister] === 0) {
        this.#registers[this.#nextRegister] = 1;
        return this.#nextRegister;
      }
      this.#nextRegister = (this.#nextRegister + 1) % memoryWords;
    }
    return this.refuse(
      "EXPRESSION_TOO_LARGE",
      `the arithmetic needs more than ${memoryWords} intermediate values`,
      "split it into several comparisons",
    );
  }

  freeRegister(register: number): void {
    this.#registers[register] = 0;
  }
}

/** Byte offsets of the field that names the payload's protocol, and of the payload. */
const headerLayout: Readonly<
  Record<LinkType, { readonly field: number | undefined; readonly payload: number }>
> = {
  EN10MB: { field: 12, payload: 14 },
  RAW: { field: undefined, payload: 0 },
  NULL: { field: 0, payload: 4 },
  LOOP: { field: 0, payload: 4 },
  LINUX_SLL: { field: 14, payload: 16 },
  LINUX_SLL2: { field: 0, payload: 20 },
};

import { compileExpression } from "../cbpf/compile-expression.ts";
import { linkTypeByName } from "../cbpf/link-type.ts";
import { type ListingForm, listClassic } from "../cbpf/listing.ts";
import { maxChainedHeaders, translateClassic } from "../cbpf/translate.ts";
import { disassembleProgram } from "../isa/disassembler.ts";
import { parseNetmask } from "./netmask-option.ts";
import { pointAt } from "./point-at.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface FilterCompileOptions {
  /** tcpdump's -d, -dd, -ddd: how often it was given. */
  readonly d?: number;
  readonly ebpf?: boolean;
  readonly linkType: string;
  /** `-O`, as in tcpdump: false turns the optimiser off. */
  readonly O?: boolean;
  /** `255.255.255.0`: what `ip broadcast` goes by. */
  readonly netmask?: string;
  readonly json?: boolean;
}

const forms: readonly ListingForm[] = ["assembly", "assembly", "c", "decimal"];

/** `weir filter compile`: an expression as the program it becomes. */
export function filterCompile(
  expression: string,
  options: FilterCompileOptions,
  terminal: Terminal,
): ExitCode {
  const linkType = linkTypeByName(options.linkType);
  if (!linkType.ok) {
    terminal.error(`weir filter compile: ${linkType.error.message}\n`);
    return exitCodes.usage;
  }
  const netmask = parseNetmask(options.netmask);
  if (!netmask.ok) {
    terminal.error(`weir filter compile: ${netmask.error.message}\n`);
    return exitCodes.usage;
  }
  if (options.ebpf === true && options.d !== undefined) {
    terminal.error("weir filter compile: -d lists classic BPF, --ebpf eBPF; give one of them\n");
    return exitCodes.usage;
  }
  const optimise = options.O !== true;
  const limit = options.ebpf === true ? { maxChainedHeaders } : {};
  const classic = compileExpression(expression, {
    linkType: linkType.value,
    optimise,
    ...netmask.value,
    ...limit,
  });
  if (!classic.ok) {
    terminal.error(`weir filter compile: ${classic.error.message}\n`);
    terminal.error(pointAt(expression, classic.error));
    return exitCodes.failed;
  }
  const form = forms[Math.min(options.d ?? 1, 3)] as ListingForm;
  let listing: string;
  if (options.ebpf === true) {
    const translated = translateClassic(classic.value, "expression");
    if (!translated.ok) {
      terminal.error(`weir filter compile: ${translated.error.message}\n`);
      return exitCodes.failed;
    }
    listing = disassembleProgram(translated.value, { targets: "distance" });
  } else listing = listClassic(classic.value, form);
  terminal.out(
    options.json === true
      ? `${JSON.stringify({ expr: expression, linkType: linkType.value, listing })}\n`
      : ensureNewline(listing),
  );
  return exitCodes.done;
}

function ensureNewline(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}

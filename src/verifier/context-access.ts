import type { ProgramType } from "../object/object-spec.ts";
import type { Analysis } from "./analysis.ts";
import { type ContextAccess, contextAccessOf, fieldAt } from "./context-rules.ts";
import { bytesText } from "./describe-place.ts";
import { pointer, type RegisterState } from "./register-state.ts";
import { isNumber } from "./scalar-range.ts";
import { mayReadSocket, type SocketKind, socketField } from "./socket-rules.ts";
import { loaded } from "./stack-access.ts";
import { regions } from "./verified.ts";

/** A load from the program's context, and what it gives. */
export function loadContext(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
  signed: boolean,
): RegisterState {
  checkContextPointer(a, base, held);
  const rules = a.context;
  const sizes = (signed ? rules?.signedReads : rules?.reads)?.[offset] ?? 0;
  if (rules === undefined || (sizes & size) === 0) refuseContext(a, base, offset, size, "read");
  a.facts.reach(a.slot, regions.context);
  const kind = rules.pointers.get(offset);
  if (kind === undefined) return loaded(size, signed);
  if (kind === "sock_common") return pointer(kind, { nullable: true, id: a.newId() });
  return pointer(kind);
}

export function storeContext(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
): void {
  checkContextPointer(a, base, held);
  if (((a.context?.writes[offset] ?? 0) & size) === 0)
    refuseContext(a, base, offset, size, "written");
  a.facts.reach(a.slot, regions.context);
}

function checkContextPointer(a: Analysis, base: number, held: RegisterState): void {
  if (held.offset === 0 && isNumber(held.range, 0n)) return;
  a.refuse(
    "CONTEXT_ACCESS",
    `r${base} is the context pointer, changed by arithmetic`,
    "use the pointer as it came, with an offset in the instruction",
    [base],
  );
}

function refuseContext(
  a: Analysis,
  base: number,
  offset: number,
  size: number,
  verb: "read" | "written",
): never {
  const rules = a.context;
  if (rules === undefined || offset < 0 || offset >= rules.bytes)
    a.refuse(
      "CONTEXT_ACCESS",
      `${bytesText(size)} at context offset ${offset} are ${verb}, and the context has bytes 0 to ${(rules?.bytes ?? 0) - 1}`,
      rules === undefined ? "this program has no context" : outsideFix(rules, offset),
      [base],
    );
  const field = fieldAt(rules, offset);
  const table = verb === "read" ? rules.reads : rules.writes;
  const start = fieldStart(rules, offset);
  const here = sizesAt(table, offset);
  const atStart = sizesAt(table, start);
  const how = verb === "read" ? "read" : "write";
  if (here.length === 0 && atStart.length === 0)
    a.refuse(
      "CONTEXT_ACCESS",
      `${field} (${bytesText(size)} at offset ${offset}) cannot be ${verb} by programs of type ${a.program.type}`,
      otherWay(a.program.type, field) ?? allowedFields(rules, table, how),
      [base],
    );
  const signed = verb === "read" && here.includes(size);
  if (offset !== start && !signed)
    a.refuse(
      "CONTEXT_ACCESS",
      `${bytesText(size)} at context offset ${offset} cannot be ${verb}: ${field} begins at offset ${start}`,
      `${how} ${sizesText(atStart)} at offset ${start}${here.length === 0 ? "" : `, or ${sizesText(here)} at offset ${offset}`}`,
      [base],
    );
  a.refuse(
    "CONTEXT_ACCESS",
    `${field} (offset ${offset}) cannot be ${verb} with ${bytesText(size)}${signed ? ", sign-extended" : ""}`,
    `${how} ${sizesText(here)} there${signed ? ", into an unsigned type" : ""}`,
    [base],
  );
}

/** How a program comes to what the field would tell it, where there is a way. */
function otherWay(type: ProgramType, field: string): string | undefined {
  if (type === "socket" && /data(_end|_meta)?$/.test(field))
    return "read the packet with bpf_skb_load_bytes, or make it a tc program";
  if (field === "xdp_md.egress_ifindex")
    return 'only programs that a devmap\'s entry names leave through a device: put it into SEC("xdp/devmap")';
  return undefined;
}

/** Fields of the other context lie further out: most often that is what was meant. */
function outsideFix({ name }: ContextAccess, offset: number): string {
  const other = contextAccessOf("tc")!;
  const isOther = name !== other.name && offset >= 0 && offset < other.bytes;
  return `use the fields of struct ${name}, linux/bpf.h${isOther ? `; ${fieldAt(other, offset)} lies there, which programs of types tc, socket and cgroup_skb are given` : ""}`;
}

function fieldStart({ fields }: ContextAccess, offset: number): number {
  return fields.findLast(([start]) => start <= offset)?.[0] ?? 0;
}

function sizesAt(table: Uint8Array, offset: number): number[] {
  return [1, 2, 4, 8].filter((size) => (table[offset]! & size) !== 0);
}

/** `4 bytes`, `1, 2 or 4 bytes`. */
function sizesText(sizes: readonly number[]): string {
  const last = sizes.at(-1)!;
  return sizes.length === 1
    ? bytesText(last)
    : `${sizes.slice(0, -1).join(", ")} or ${bytesText(last)}`;
}

/** Of a field that is not for programs of this type: those that are. */
function allowedFields({ fields }: ContextAccess, table: Uint8Array, how: string): string {
  const names = fields.filter(([start]) => table[start] !== 0).map(([, name]) => name);
  return names.length === 0
    ? `programs of this type ${how} no field: keep what you need on the stack or in a map`
    : `fields that they may ${how}: ${names.join(", ")}`;
}

/** A socket's fields are read as the kernel allows it, though no run here ever has one. */
export function checkSocketLoad(
  a: Analysis,
  base: number,
  kind: SocketKind,
  offset: number,
  size: number,
): void {
  if (mayReadSocket(kind, offset, size)) return;
  const { name, sizes } = socketField(kind, offset);
  const inFullSocket = kind === "sock_common" && mayReadSocket("sock", offset, size);
  a.refuse(
    "SOCKET_ACCESS",
    `${name} (offset ${offset}) cannot be read with ${bytesText(size)}${inFullSocket ? " of a socket in any state" : ""}`,
    inFullSocket
      ? "call bpf_sk_fullsock first, and compare what it returns with 0"
      : sizes.length > 0
        ? `read ${sizesText(sizes)} there`
        : "read a field from its beginning, with its size in linux/bpf.h",
    [base],
  );
}

/**
 * Weir as a library: eBPF objects loaded, verified and run on packets in this process, without root
 * and without a kernel's help. For tests of filters, above all.
 *
 * @module
 */
export { UserError } from "./common/user-error.ts";
export type { EngineKind } from "./engine/engine-kind.ts";
export type { PacketContext, SkbContext, VlanTag } from "./filter/packet-context.ts";
export type { VerdictKind } from "./filter/verdict.ts";
export {
  type TcpFlag,
  type TcpFrameParts,
  tcpFrame,
  type UdpFrameParts,
  udpFrame,
} from "./library/frames.ts";
export type { LoadedMap } from "./library/loaded-map.ts";
export {
  type FileUrl,
  type LoadedObject,
  type LoadOptions,
  loadObject,
} from "./library/loaded-object.ts";
export type {
  LoadedProgram,
  RunEvent,
  RunFault,
  RunOptions,
  RunResult,
} from "./library/loaded-program.ts";
export type { InnerMap } from "./maps/with-inner-map.ts";
export type { MapType, ProgramType } from "./object/object-spec.ts";

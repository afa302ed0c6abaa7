import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { PacketRecord } from "../pcap/captured-packet.ts";
import { ClassicWriter } from "../pcap/classic-writer.ts";
import { PcapngWriter } from "../pcap/pcapng-writer.ts";
import type { ByteSink } from "./byte-sink.ts";

/** LINKTYPE_ETHERNET. */
const ethernet = 1;

/** A capture that is written: pcapng, or classic pcap where the file's name ends in `.pcap`. */
export interface CaptureOutput {
  readonly path: string;
  /** Packets written. */
  readonly packets: number;
  readonly sink: ByteSink;
  /**
   * Writes a packet of interface `interfaceId` of the capture it comes from. Fails for what the
   * format has no place for.
   */
  write(packet: PacketRecord, linkType: number, interfaceId: number): Result<undefined, UserError>;
  /** Completes the file, also one without packets. */
  end(): Promise<void>;
}

export function captureOutput(path: string, sink: ByteSink): CaptureOutput {
  return path.endsWith(".pcap") ? new ClassicOutput(path, sink) : new PcapngOutput(path, sink);
}

/** One link type a file, which the first packet decides; no comments. */
class ClassicOutput implements CaptureOutput {
  readonly path: string;
  readonly sink: ByteSink;
  packets = 0;
  #linkType = ethernet;
  #writer: ClassicWriter | undefined;

  constructor(path: string, sink: ByteSink) {
    this.path = path;
    this.sink = sink;
  }

  write(packet: PacketRecord, linkType: number): Result<undefined, UserError> {
    const writer = this.#writer ?? this.#begin(linkType);
    if (linkType !== this.#linkType)
      return err(
        new UserError(
          "OUTPUT_LINK_TYPES",
          this.path,
          `a classic pcap holds packets of one link type, and these are of ${this.#linkType} and ${linkType}`,
          "give it a name that ends in .pcapng",
        ),
      );
    this.sink.write(writer.record(packet));
    this.packets++;
    return ok(undefined);
  }

  async end(): Promise<void> {
    if (this.#writer === undefined) this.#begin(ethernet);
    await this.sink.end();
  }

  #begin(linkType: number): ClassicWriter {
    const writer = new ClassicWriter(linkType);
    this.#writer = writer;
    this.#linkType = linkType;
    this.sink.write(writer.header);
    return writer;
  }
}

/** An interface for each link type of each interface of the capture that packets come from. */
class PcapngOutput implements CaptureOutput {
  readonly path: string;
  readonly sink: ByteSink;
  packets = 0;
  readonly #writer = new PcapngWriter([]);
  /** Numbers of the interfaces written, by interface and link type of the capture. */
  readonly #interfaces = new Map<number, Map<number, number>>();
  #count = 0;

  constructor(path: string, sink: ByteSink) {
    this.path = path;
    this.sink = sink;
    sink.write(this.#writer.header);
  }

  write(
    { seconds, nanoseconds, originalLength, data, comments = [] }: PacketRecord,
    linkType: number,
    interfaceId: number,
  ): Result<undefined, UserError> {
    const number = this.#interface(linkType, interfaceId);
    const record = { seconds, nanoseconds, originalLength, data, comments, interfaceId: number };
    this.sink.write(this.#writer.record(record));
    this.packets++;
    return ok(undefined);
  }

  #interface(linkType: number, interfaceId: number): number {
    const numbers = this.#interfaces.get(linkType) ?? new Map<number, number>();
    this.#interfaces.set(linkType, numbers);
    let number = numbers.get(interfaceId);
    if (number === undefined) {
      number = this.#count++;
      numbers.set(interfaceId, number);
      this.sink.write(this.#writer.addInterface({ linkType }));
    }
    return number;
  }

  end(): Promise<void> {
    return this.sink.end();
  }
}

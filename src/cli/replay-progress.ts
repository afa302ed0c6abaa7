import { bytesText, countOf, countText } from "./number-text.ts";

/** Milliseconds between two drawings. */
const redrawMs = 100;
const eraseLine = "\r\x1b[2K";

/** A line on a terminal that says how far a replay is, drawn over itself. */
export class ReplayProgress {
  readonly #draw: (text: string) => void;
  readonly #totalBytes: number | undefined;
  readonly #startMs = performance.now();
  #lastMs = this.#startMs;
  #shown = false;

  /** `totalBytes`: the input's size, where it is known. */
  constructor(draw: (text: string) => void, totalBytes: number | undefined) {
    this.#draw = draw;
    this.#totalBytes = totalBytes;
  }

  /** So much has been done. */
  tick(packets: number, bytes: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < redrawMs) return;
    this.#lastMs = nowMs;
    this.#shown = true;
    const rate = countText(Math.round((packets / (nowMs - this.#startMs)) * 1000));
    const total = this.#totalBytes;
    const part =
      total === undefined || total === 0
        ? ""
        : ` of ${bytesText(total)} (${Math.min(100, Math.floor((bytes / total) * 100))}%)`;
    this.#draw(
      `${eraseLine}${countOf(packets, "packet")}, ${bytesText(bytes)}${part}, ${rate} packets/s`,
    );
  }

  /** Takes the line away, before anything else is written. */
  clear(): void {
    if (this.#shown) this.#draw(eraseLine);
    this.#shown = false;
  }
}

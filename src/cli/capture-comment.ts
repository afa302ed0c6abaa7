import { type Direction, directions } from "../filter/verdict.ts";

/** Where a packet met a chain: what `weir capture -w` writes first into its comment. */
export interface CapturedAt {
  readonly listener: string;
  readonly direction: Direction;
  /** It is what the filters made of the packet before it in the file. */
  readonly isExit: boolean;
}

const exitText = "as the filters left it";

/** A packet's comment; without `verdict` for a packet as the filters left it. */
export function captureComment(
  { listener, direction, worker }: Omit<CapturedAt, "isExit"> & { readonly worker: number },
  tunnel: string,
  verdict?: string,
): string {
  return `weir: ${listener} ${direction}, worker ${worker}${tunnel}: ${verdict ?? exitText}`;
}

const commentForm = new RegExp(`^weir: (\\S+) (${directions.join("|")}), worker \\d+(.*)$`, "s");

/** What a comment says that `captureComment` wrote; undefined of others. */
export function parseCaptureComment(comments: readonly string[]): CapturedAt | undefined {
  for (const comment of comments) {
    const [, listener, direction, rest] = commentForm.exec(comment) ?? [];
    if (listener === undefined) continue;
    return {
      listener,
      direction: direction as Direction,
      isExit: rest!.endsWith(`: ${exitText}`),
    };
  }
  return undefined;
}

import { type Direction, directions } from "../filter/verdict.ts";

/** Where a packet met a chain: what `weir capture -w` writes first into its comment. */
export interface CapturedAt {
  readonly listener: string;
  readonly direction: Direction;
  /** It is what the filters made of the packet before it in the file. */
  readonly isExit: boolean;
  /** It stands in the file with what was around it in a tunnel. */
  readonly isOuter: boolean;
}

const exitText = "as the filters left it";
const outerText = ", outer packet";

/** A packet's comment; without `verdict` for a packet as the filters left it. */
export function captureComment(
  {
    listener,
    direction,
    worker,
    isOuter,
  }: Omit<CapturedAt, "isExit"> & {
    readonly worker: number;
  },
  tunnel: string,
  verdict?: string,
): string {
  const outer = isOuter ? outerText : "";
  return `weir: ${listener} ${direction}, worker ${worker}${outer}${tunnel}: ${verdict ?? exitText}`;
}

const commentForm = new RegExp(
  `^weir: (\\S+) (${directions.join("|")}), worker \\d+(${outerText})?(.*)$`,
  "s",
);

/** What a comment says that `captureComment` wrote; undefined of others. */
export function parseCaptureComment(comments: readonly string[]): CapturedAt | undefined {
  for (const comment of comments) {
    const [, listener, direction, outer, rest] = commentForm.exec(comment) ?? [];
    if (listener === undefined) continue;
    return {
      listener,
      direction: direction as Direction,
      isExit: rest!.endsWith(`: ${exitText}`),
      isOuter: outer !== undefined,
    };
  }
  return undefined;
}

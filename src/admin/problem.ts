import { errno } from "../common/errno.ts";
import { UserError } from "../common/user-error.ts";

/** The one shape of every error the API answers with. */
export interface ProblemBody {
  readonly error: {
    readonly code: string;
    readonly where: string;
    readonly what: string;
    readonly fix?: string;
  };
}

export function problemBody({ code, where, what, fix }: UserError): ProblemBody {
  return { error: { code, where, what, ...(fix === undefined ? {} : { fix }) } };
}

const statuses: Readonly<Record<string, number>> = {
  REQUEST_UNAUTHORISED: 401,
  REQUEST_PATH: 404,
  REQUEST_METHOD: 405,
  REQUEST_TIMEOUT: 408,
  REQUEST_TOO_LARGE: 413,
  PROGRAM_UNKNOWN: 404,
  MAP_UNKNOWN: 404,
  FILTER_UNKNOWN: 404,
  LISTENER_UNKNOWN: 404,
  PROGRAM_AMBIGUOUS: 409,
  MAP_AMBIGUOUS: 409,
  MAP_NO_ENTRY: 404,
  MAP_EXISTS: 409,
  MAP_FULL: 409,
  MAP_READ_ONLY: 403,
  MAP_BUSY: 503,
  MAP_MOVING: 503,
  PIN_REFUSED: 409,
  PIN_UNWRITABLE: 500,
  FILTER_NOT_SHADOW: 409,
  FILTER_NOT_BESIDE: 409,
  STREAM_LIMIT: 429,
  CAPTURE_LIMIT: 429,
  EVENT_LIMIT: 429,
  MAP_GONE: 410,
  RELOAD_REFUSED: 422,
  WORKER_DIED: 503,
  INTERNAL: 500,
};

/** The HTTP status of an error; what a request itself got wrong is 400. */
export function statusOf(error: UserError): number {
  return statuses[error.code] ?? 400;
}

const mapRefusals: Readonly<Record<number, readonly [code: string, what: string, fix?: string]>> = {
  [errno.ENOENT]: ["MAP_NO_ENTRY", "there is no entry of this key"],
  [errno.EEXIST]: [
    "MAP_EXISTS",
    "there is an entry of this key already",
    "leave noexist out to replace it",
  ],
  [errno.E2BIG]: ["MAP_FULL", "the key is beyond max_entries, or the map is full"],
  [errno.ENOSPC]: ["MAP_FULL", "the map is full"],
  [errno.ENOMEM]: ["MAP_FULL", "the map is full"],
  [errno.EPERM]: ["MAP_READ_ONLY", "the map is read-only"],
  [errno.EINVAL]: ["MAP_REFUSED", "the map's type does not allow it"],
};

/** Why a map operation returned `-error`. */
export function mapRefusal(where: string, error: number): UserError {
  const [code, what, fix] = mapRefusals[error] ?? ["MAP_REFUSED", `error ${error} (errno(3))`];
  return new UserError(code, where, what, fix);
}

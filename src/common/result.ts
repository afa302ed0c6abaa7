/**
 * What loading returns: a value, or a reason why there is none.
 * Loading never throws for bad input; a throw is a bug in Weir.
 */
export type Result<T, E = UserErrorLike> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/** The least an error in a Result must tell. `UserError` is the usual one. */
export interface UserErrorLike {
  readonly code: string;
  readonly message: string;
}

export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function err<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error };
}

/**
 * An error a user can act on: a stable code, where it is, what is wrong, how to fix it.
 * It is returned in a `Result`, not thrown, except where a library's callback leaves no other way.
 */
export class UserError extends Error {
  /** Stable, SCREAMING_SNAKE, for scripts and tests: `OBJECT_NO_SECTION`. */
  readonly code: string;
  /** File, file:line:column, map or program name: where to look. */
  readonly where: string;
  /** What is wrong, in one sentence without a full stop. */
  readonly what: string;
  /** What would make it right; absent where nothing would. */
  readonly fix: string | undefined;
  /** Lines that say more, which a terminal shows below the message: a line of source, registers. */
  readonly detail: readonly string[];

  constructor(
    code: string,
    where: string,
    what: string,
    fix?: string,
    detail: readonly string[] = [],
  ) {
    super(fix === undefined ? `${where}: ${what}` : `${where}: ${what}; ${fix}`);
    this.name = "UserError";
    // Nobody is shown where in Weir's own code it was made. The frames that V8 keeps until they are
    // read hold what their functions saw, which may be a whole config: an error kept in a plan held
    // the plan before, and so all before that.
    this.stack = `${this.name}: ${this.message}`;
    this.code = code;
    this.where = where;
    this.what = what;
    this.fix = fix;
    this.detail = detail;
  }
}

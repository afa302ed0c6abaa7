/** Carries a pattern's fault out of the recursive parser, which turns it into a `Result`. */
export class Refusal extends Error {
  /** What would make the pattern right. */
  readonly fix: string;

  constructor(what: string, fix: string) {
    super(what);
    this.fix = fix;
  }
}

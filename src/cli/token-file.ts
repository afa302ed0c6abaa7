import { statSync } from "node:fs";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { readBounded } from "../config/read-file.ts";

/** Shorter ones can be guessed. */
const minTokenLength = 16;
const maxTokenBytes = 4096;

/** A file, and the place that names it: `file:line:column`. Undefined: a command's option. */
interface NamedFile {
  readonly file: string;
  readonly named: string | undefined;
}

/**
 * The token of a control API, in a file that may be replaced while the proxy runs, as secrets are that
 * are rotated. It is read again when the file is another; one that holds no token leaves the one before.
 */
export class TokenFile {
  readonly #file: string;
  readonly #named: string | undefined;
  readonly #onRefused: (error: UserError) => void;
  #token: string;
  #stamp: string | undefined;

  private constructor(
    { file, named }: NamedFile,
    token: string,
    stamp: string | undefined,
    onRefused: (error: UserError) => void,
  ) {
    this.#file = file;
    this.#named = named;
    this.#token = token;
    this.#stamp = stamp;
    this.#onRefused = onRefused;
  }

  /** Reads the file. `onRefused` takes what is wrong with later contents, once each. */
  static open(
    named: NamedFile,
    onRefused: (error: UserError) => void,
  ): Result<TokenFile, UserError> {
    // Before it is read: what is written in between is read again.
    const stamp = stampOf(named.file);
    const token = readToken(named.file, named.named);
    return token.ok ? ok(new TokenFile(named, token.value, stamp, onRefused)) : token;
  }

  /** The token that counts now. Costs a look at the file's date. */
  current(): string {
    const stamp = stampOf(this.#file);
    if (stamp === this.#stamp) return this.#token;
    this.#stamp = stamp;
    const token = readToken(this.#file, this.#named);
    if (token.ok) this.#token = token.value;
    else this.#onRefused(token.error);
    return this.#token;
  }
}

/** The token in a file: what is in it but white space around. `named`: the place that names it. */
export function readToken(file: string, named?: string): Result<string, UserError> {
  const refuse = (what: string, fix?: string): Result<never, UserError> =>
    err(
      named === undefined
        ? new UserError("ADMIN_TOKEN", `token file ${file}`, what, fix)
        : new UserError("ADMIN_TOKEN", named, `token file ${file}: ${what}`, fix),
    );
  const bytes = readBounded(file, maxTokenBytes);
  if (!bytes.ok) return refuse(bytes.error.what, bytes.error.fix);
  const token = Buffer.from(bytes.value).toString("latin1").trim();
  if (!/^[\x21-\x7e]+$/.test(token) || token.length < minTokenLength)
    return refuse(
      `holds no token of ${minTokenLength} characters or more`,
      `write one: openssl rand -hex 32 > ${file}`,
    );
  return ok(token);
}

/** Differs where the file has been written or replaced; undefined where there is none to be seen. */
function stampOf(file: string): string | undefined {
  try {
    const { ino, size, mtimeNs } = statSync(file, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return undefined;
  }
}

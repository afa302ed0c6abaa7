import { existsSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import { decodePinFile, encodePinFile } from "../maps/pin-file.ts";
import { isPinned, markPinned, type PinPlace, unmarkPinned } from "./pin-place.ts";
import { readBounded } from "./read-file.ts";

/** A file is no longer than its map, and that lies in an arena of less than 2 GiB. */
const maxPinBytes = 2 ** 31;

/** Puts back what a map held when it was last saved. A file that is not there is no error. */
export function restorePin(map: MapAccess, file: string): UserError | undefined {
  if (!existsSync(file)) return undefined;
  const bytes = readBounded(file, maxPinBytes);
  if (!bytes.ok) return new UserError("PIN_UNREADABLE", file, bytes.error.what, bytes.error.fix);
  const contents = decodePinFile(bytes.value, map.handle, file);
  if (!contents.ok) return contents.error;
  // What is popped last was pushed first.
  const entries = map.handle.type === "stack" ? contents.value.toReversed() : contents.value;
  for (const { key, values } of entries) {
    const result = map.initialize(key, values);
    if (result !== 0)
      return new UserError(
        "PIN_CORRUPT",
        file,
        `map ${map.handle.name} refuses one of its entries with error ${-result} (errno(3))`,
        "restore it from a copy, or remove it",
      );
  }
  return undefined;
}

/** A map to be saved, and where. */
export interface Pin {
  readonly map: MapAccess;
  readonly file: string;
}

/**
 * Saves pinned maps to their files: each is written beside its place and moved there, so that a crash
 * leaves the old contents or the new.
 */
export class PinKeeper {
  #pins: readonly Pin[];
  /** What each file holds, to write only what has changed. */
  readonly #written = new Map<string, Buffer>();
  #saving: Promise<unknown> = Promise.resolve();

  constructor(pins: readonly Pin[]) {
    this.#pins = onePerFile(pins);
  }

  /**
   * Saves other maps from now on. What maps hold that go is taken within this call, and saved too.
   * What could not be saved, and why.
   */
  follow(pins: readonly Pin[]): Promise<UserError[]> {
    const next = onePerFile(pins);
    const gone = this.#pins.filter(({ file }) => next.every((pin) => pin.file !== file));
    this.#pins = next;
    const last = gone.map(encoded);
    return this.#inTurn(async () => {
      const failures = await Promise.all(
        last.map((contents) => (contents.ok ? this.#write(contents.value) : contents.error)),
      );
      return failures.filter((error) => error !== undefined);
    });
  }

  /**
   * Keeps a map from now on, over restarts too, until `unpin`; one that is kept already is saved. What
   * it holds is taken within this call, and a reload that comes into force next knows of it.
   * Why it cannot be kept: then it is not.
   */
  async pin(pin: Pin): Promise<UserError | undefined> {
    const contents = encoded(pin);
    if (!contents.ok) return contents.error;
    const isNew = !this.keeps(pin.file);
    const marking = isNew ? attempt(pin, () => markPinned(pin.file)) : undefined;
    if (isNew) this.#pins = [...this.#pins, pin];
    return this.#inTurn(async () => {
      // Somebody may have removed the file: whoever asks for it gets it.
      this.#written.delete(pin.file);
      const failure = (await marking) ?? (await this.#write(contents.value));
      if (failure !== undefined && isNew) {
        this.#pins = this.#pins.filter((one) => one !== pin);
        await attempt(pin, () => unmarkPinned(pin.file));
      }
      return failure;
    });
  }

  /** Ends what `pin` began: the map is kept no longer, and its file goes. Why it cannot be ended. */
  async unpin(pin: Pin): Promise<UserError | undefined> {
    const { file } = pin;
    const unmarking = attempt(pin, () => unmarkPinned(file));
    this.#pins = this.#pins.filter((one) => one.file !== file);
    return this.#inTurn(async () => {
      this.#written.delete(file);
      return (await unmarking) ?? (await attempt(pin, () => rm(file, { force: true })));
    });
  }

  /** Whether a map is being kept in this file. */
  keeps(file: string): boolean {
    return this.#pins.some((pin) => pin.file === file);
  }

  /** Saves all maps that have changed. What could not be saved, and why. */
  save(): Promise<UserError[]> {
    return this.#inTurn(() => this.#saveAll());
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#saving.then(act);
    this.#saving = done;
    return done;
  }

  async #saveAll(): Promise<UserError[]> {
    const errors: UserError[] = [];
    for (const pin of this.#pins) {
      // A reload may have let go of it meanwhile.
      if (!this.#pins.includes(pin)) continue;
      const contents = encoded(pin);
      const failure = contents.ok ? await this.#write(contents.value) : contents.error;
      if (failure !== undefined) errors.push(failure);
    }
    return errors;
  }

  async #write(contents: Contents): Promise<UserError | undefined> {
    const { file, bytes } = contents;
    const digest = digestOf(bytes);
    if (this.#written.get(file)?.equals(digest)) return undefined;
    const failure = await attempt(contents, () => writeAtomically(file, bytes));
    if (failure === undefined) this.#written.set(file, digest);
    return failure;
  }
}

/** Does something to a map's file; what the file system has against it. */
async function attempt(
  { map, file }: Pin,
  act: () => void | Promise<void>,
): Promise<UserError | undefined> {
  try {
    await act();
    return undefined;
  } catch (cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (syscall === undefined) throw cause;
    return new UserError(
      "PIN_UNWRITABLE",
      file,
      `map ${map.handle.name} cannot be saved (${code})`,
      "make stateDir a folder that Weir may write to",
    );
  }
}

/** What a map held, to be written to its file. */
interface Contents extends Pin {
  readonly bytes: Buffer;
}

/** An error where a worker holds the map's lock, and has died. */
function encoded(pin: Pin): Result<Contents, UserError> {
  try {
    return ok({ ...pin, bytes: encodePinFile(pin.map) });
  } catch (cause) {
    if (cause instanceof UserError) return err(cause);
    throw cause;
  }
}

function onePerFile(pins: readonly Pin[]): Pin[] {
  return [...new Map(pins.map((pin) => [pin.file, pin])).values()];
}

/** The maps of a prepared proxy that are kept: by the config, or pinned at run time. */
export function pinsOf(
  filters: readonly {
    readonly maps: readonly {
      readonly source: MapAccess;
      readonly pin: Result<PinPlace, unknown>;
    }[];
  }[],
): Pin[] {
  return filters.flatMap(({ maps }) =>
    maps.flatMap(({ source, pin }) =>
      pin.ok && isPinned(pin.value) ? { map: source, file: pin.value.file } : [],
    ),
  );
}

/** Saving that goes on until it is stopped, when all is saved once more. */
export interface Keeping {
  stop(): Promise<void>;
}

/** Between two times at which maps are saved. */
const saveIntervalMs = 30_000;

/** Saves all maps every 30 seconds, and at the end. Each failure is told. */
export function startKeeping(
  keeper: PinKeeper,
  onError: (error: UserError) => void,
  intervalMs = saveIntervalMs,
): Keeping {
  const save = async (): Promise<void> => {
    for (const error of await keeper.save()) onError(error);
  };
  const timer = setInterval(save, intervalMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await save();
    },
  };
}

/** The checksum at the end of a file tells its contents from others. */
function digestOf(bytes: Buffer): Buffer {
  return Buffer.from(bytes.subarray(-32));
}

async function writeAtomically(file: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}.new`;
  try {
    const handle = await open(beside, "w", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (cause) {
    await rm(beside, { force: true });
    throw cause;
  }
}

import { createHash } from "node:crypto";
import { type FSWatcher, readFileSync, realpathSync, statSync, watch } from "node:fs";
import { dirname } from "node:path";

/** Files are written in several steps, and many at once: so long after the last is looked at them. */
const settleMs = 100;
/** Some file systems (network, overlays, gVisor) tell nothing of changes: so often is asked. */
const pollMs = 5_000;

/**
 * Tells when the content of files changes. Their folders are watched, not the files: an editor or a
 * Kubernetes ConfigMap (which swaps the symlink `..data`) puts another file in their place, and
 * watching a file goes deaf then. The content is compared, so that a file written anew with what it
 * had is no change.
 */
export class FileWatch {
  readonly #onChange: () => void;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #poll: NodeJS.Timeout;
  /** File → what it was when last looked at. */
  #seen = new Map<string, Seen>();
  #settling: NodeJS.Timeout | undefined;

  /** `onChange` is called once for all that changed together. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    this.#poll = setInterval(() => this.#look(), pollMs);
    this.#poll.unref();
  }

  /** Watches these files from now on, in place of those before. */
  follow(files: readonly string[]): void {
    const seen = new Map<string, Seen>();
    // What has changed since a file was last looked at is told: it may not be what was loaded.
    for (const file of files) seen.set(file, this.#seen.get(file) ?? lookAt(file, undefined));
    this.#seen = seen;
    this.#watchFolders();
  }

  stop(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #look(): void {
    this.#settling = undefined;
    let hasChanged = false;
    for (const [file, before] of this.#seen) {
      const now = lookAt(file, before);
      if (now.content !== before.content) hasChanged = true;
      this.#seen.set(file, now);
    }
    this.#watchFolders();
    if (hasChanged) this.#onChange();
  }

  /** The folders where the files' names are, and where their bytes are: they may be other ones now. */
  #watchFolders(): void {
    const folders = new Set([...this.#seen.keys()].flatMap(foldersOf));
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, () => this.#settle());
        const forget = (): void => {
          watcher.close();
          this.#watchers.delete(folder);
        };
        watcher.on("error", forget);
        watcher.unref();
        this.#watchers.set(folder, watcher);
      } catch {
        // It is not there, or the system has no watch left: the poll sees what changes.
      }
    }
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#look(), settleMs);
    this.#settling.unref();
  }
}

interface Seen {
  /** Differs where the file may have changed. */
  readonly stamp: string;
  /** Differs where its bytes have. */
  readonly content: string;
}

const absent: Seen = { stamp: "", content: "" };

function lookAt(file: string, before: Seen | undefined): Seen {
  try {
    const stat = statSync(file, { bigint: true });
    if (!stat.isFile()) return absent;
    const { dev, ino, size, mtimeNs, ctimeNs } = stat;
    const stamp = [dev, ino, size, mtimeNs, ctimeNs].join();
    if (stamp === before?.stamp) return before;
    return { stamp, content: createHash("sha256").update(readFileSync(file)).digest("hex") };
  } catch {
    return absent;
  }
}

function foldersOf(file: string): string[] {
  const named = dirname(file);
  try {
    return [named, dirname(realpathSync(file))];
  } catch {
    return [named];
  }
}

import { isDeepStrictEqual } from "node:util";
import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Follower } from "../config/reload.ts";
import type { HostPort } from "../config/scalars.ts";
import { type MetricsServer, startMetricsServer } from "../metrics/server.ts";

/** A follower of which nothing has to be made ready: `commit` cannot be refused. */
export function onCommit(
  commit: (next: Parameters<Follower>[0]) => void | Promise<void>,
): Follower {
  return async (next) => ok({ commit: () => commit(next), abort: () => {} });
}

type ServerInput = Omit<Parameters<typeof startMetricsServer>[0], "listen">;

/**
 * The metrics server, where the config wants it: at a changed address another one is opened before
 * the reload is decided, and the one before ends after it.
 */
export class FollowingServer {
  readonly #input: ServerInput;
  #listen: HostPort | undefined;
  #server: MetricsServer | undefined;

  private constructor(input: ServerInput) {
    this.#input = input;
  }

  static async start(
    listen: HostPort | undefined,
    input: ServerInput,
  ): Promise<Result<FollowingServer, UserError>> {
    const following = new FollowingServer(input);
    const server = await following.#open(listen);
    if (!server.ok) return server;
    following.#listen = listen;
    following.#server = server.value;
    return ok(following);
  }

  /** The server that runs now, if the config wants one. */
  get server(): MetricsServer | undefined {
    return this.#server;
  }

  readonly follow: Follower = async ({ config }) => {
    const listen = config.metricsListen;
    if (isDeepStrictEqual(listen, this.#listen)) return ok({ commit: () => {}, abort: () => {} });
    const next = await this.#open(listen);
    if (!next.ok) return err([next.error]);
    return ok({
      commit: () => {
        void this.#server?.stop();
        this.#listen = listen;
        this.#server = next.value;
      },
      abort: () => void next.value?.stop(),
    });
  };

  async stop(): Promise<void> {
    await this.#server?.stop();
  }

  async #open(listen: HostPort | undefined): Promise<Result<MetricsServer | undefined, UserError>> {
    return listen === undefined ? ok(undefined) : startMetricsServer({ ...this.#input, listen });
  }
}

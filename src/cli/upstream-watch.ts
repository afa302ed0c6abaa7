import { NameWatch } from "../config/name-watch.ts";
import type { LiveConfig, LoadedConfig } from "../config/reload.ts";
import { failedNameText } from "../config/resolve-upstreams.ts";
import { Counters } from "../filter/counters.ts";
import { HealthChecks } from "../proxy/health-checks.ts";
import { hostPort } from "./host-port.ts";
import type { Log } from "./log.ts";

/** What the main thread does for upstreams while the proxy runs: health checks, and names looked up again. */
export class UpstreamWatch {
  readonly #checks: HealthChecks;
  readonly #names: NameWatch;

  /**
   * `live` is asked for when there is something to put in force. `onLookupFailed`: a name of an upstream
   * could not be looked up, once more.
   */
  constructor(
    log: Log,
    live: () => Pick<LiveConfig, "readdress"> | undefined,
    onLookupFailed: (upstream: string) => void,
  ) {
    this.#checks = new HealthChecks(({ upstream, address, up, detail }) => {
      const told = { upstream, address: hostPort(address.host, address.port), detail };
      if (up) log.info(told, "upstream is up");
      else log.warn(told, "upstream is down");
    });
    this.#names = new NameWatch({
      onAddresses: async (config, upstream, resolved) => {
        const done = await live()?.readdress(config, upstream, resolved);
        const told = {
          upstream,
          addresses: resolved.addresses.map(({ host, port }) => hostPort(host, port)),
        };
        if (done === undefined) return;
        if (!done.ok)
          for (const { message } of done.error)
            log.error({ ...told, error: message }, "upstream's other addresses not taken");
        else if (done.value === "in_force") log.info(told, "upstream's names have other addresses");
      },
      onFailure: (upstream, { host, code, keeps }, isNews) => {
        onLookupFailed(upstream);
        if (isNews) log.warn({ upstream, host, code }, failedNameText(keeps));
      },
      onRecovery: (upstream, host) => log.info({ upstream, host }, "name found"),
    });
  }

  follow(loaded: LoadedConfig): void {
    const { plan } = loaded.prepared;
    const workers = plan.workers.map(({ counters }) => new Counters(plan.memory, counters));
    this.#checks.follow(plan.upstreams, workers);
    this.#names.follow(loaded);
  }

  stop(): void {
    this.#checks.stop();
    this.#names.stop();
  }
}

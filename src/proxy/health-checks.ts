import { connect, isIP, type Socket } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { request } from "../common/http.ts";
import type { Checked, Counters } from "../filter/counters.ts";
import { formatEndpoint } from "./endpoint.ts";
import type { Address, HealthCheckPlan, UpstreamAddress, UpstreamPlan } from "./plan.ts";
import { writeOwnHeader } from "./proxy-protocol.ts";

/** An address that health checks found up after it was down, or down. */
export interface HealthChange {
  readonly upstream: string;
  readonly address: Address;
  readonly up: boolean;
  /** What the last check found. */
  readonly detail: string;
}

interface CheckResult {
  readonly up: boolean;
  readonly detail: string;
}

/**
 * Asks upstream addresses whether they are there, on the main thread, and tells all workers by the
 * cells that they read for each new session. Until an address has its first results it counts as up.
 */
export class HealthChecks {
  /** By upstream and address. */
  #running = new Map<string, AddressCheck>();
  readonly #onChange: (change: HealthChange) => void;

  constructor(onChange: (change: HealthChange) => void) {
    this.#onChange = onChange;
  }

  /**
   * Checks these upstreams' addresses from now on, and no others. `workers` are the counters of the
   * plan they are of: what is known of an address that stays is kept there. A check that stays as it
   * was goes on where it is: reloads, however many, keep no address from being found down.
   */
  follow(upstreams: readonly UpstreamPlan[], workers: readonly Counters[]): void {
    const running = new Map<string, AddressCheck>();
    let number = 0;
    for (const { name, addresses, healthCheck } of upstreams)
      for (const address of addresses) {
        const cell = new SharedCell(number++, workers);
        if (healthCheck === undefined) {
          cell.write("unknown");
          continue;
        }
        const key = `${name} ${address.host} ${address.port}`;
        const before = this.#running.get(key);
        const check = asked(address, healthCheck);
        if (before?.isAs(check)) {
          before.tell(cell);
          running.set(key, before);
          this.#running.delete(key);
        } else
          running.set(
            key,
            new AddressCheck(address, check, cell, (up, detail) =>
              this.#onChange({ upstream: name, address, up, detail }),
            ),
          );
      }
    this.stop();
    this.#running = running;
  }

  stop(): void {
    for (const check of this.#running.values()) check.stop();
    this.#running.clear();
  }
}

/** One address's cell in the counters of each worker. */
class SharedCell {
  readonly #number: number;
  readonly #workers: readonly Counters[];

  constructor(number: number, workers: readonly Counters[]) {
    this.#number = number;
    this.#workers = workers;
  }

  read(): Checked {
    return this.#workers[0]?.readChecked(this.#number) ?? "unknown";
  }

  write(checked: Checked): void {
    for (const worker of this.#workers) worker.setChecked(this.#number, checked);
  }
}

class AddressCheck {
  readonly #address: Address;
  readonly #plan: HealthCheckPlan;
  #cell: SharedCell;
  readonly #onChange: (up: boolean, detail: string) => void;
  /** Results in a row that say other than the cell. */
  #against = 0;
  #timer: NodeJS.Timeout;
  #isStopped = false;

  constructor(
    address: Address,
    plan: HealthCheckPlan,
    cell: SharedCell,
    onChange: (up: boolean, detail: string) => void,
  ) {
    this.#address = { host: address.host, port: plan.port ?? address.port };
    this.#plan = plan;
    this.#cell = cell;
    this.#onChange = onChange;
    this.#timer = setTimeout(this.#check, 0);
  }

  isAs(plan: HealthCheckPlan): boolean {
    return isDeepStrictEqual(plan, this.#plan);
  }

  /** Tells this cell from now on, which holds what the one before did. */
  tell(cell: SharedCell): void {
    this.#cell = cell;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  readonly #check = async (): Promise<void> => {
    const startMs = performance.now();
    const check = this.#plan.type === "tcp" ? checkTcp : checkHttp;
    const result = await check(this.#address, this.#plan);
    if (this.#isStopped) return;
    this.#take(result);
    const tookMs = performance.now() - startMs;
    this.#timer = setTimeout(this.#check, Math.max(1, this.#plan.intervalMs - tookMs));
  };

  #take({ up, detail }: CheckResult): void {
    const known = this.#cell.read();
    if (known === (up ? "up" : "down")) {
      this.#against = 0;
      return;
    }
    this.#against++;
    // Up to now it was taken for up: nothing changes but that this is known.
    if (up && known === "unknown") this.#settle("up");
    else if (this.#against >= (up ? this.#plan.healthyAfter : this.#plan.unhealthyAfter)) {
      this.#settle(up ? "up" : "down");
      this.#onChange(up, detail);
    }
  }

  #settle(checked: Checked): void {
    this.#against = 0;
    this.#cell.write(checked);
  }
}

/** A check as it is made of one address. */
function asked(address: UpstreamAddress, check: HealthCheckPlan): HealthCheckPlan {
  if (check.type !== "http" || check.host !== undefined) return check;
  return { ...check, host: hostOf(address, check) };
}

/** The Host header that a client of the address would send. RFC 9110 section 7.2. */
function hostOf({ host, port, names }: UpstreamAddress, check: HealthCheckPlan): string {
  const name = names?.[0];
  const asked = check.port ?? port;
  if (name !== undefined) return asked === 80 ? name : `${name}:${asked}`;
  if (asked !== 80) return formatEndpoint(host, asked);
  return isIP(host) === 6 ? `[${host}]` : host;
}

/** A connection to be checked, after its PROXY header where it is to have one. */
function connectTo({ host, port }: Address, { proxyProtocol = "off" }: HealthCheckPlan): Socket {
  const socket = connect({ host, port });
  // Sent first, whatever is written to it.
  if (proxyProtocol !== "off") socket.write(writeOwnHeader(proxyProtocol === "v1" ? 1 : 2));
  return socket;
}

/** Whether a connection is taken within the time. */
function checkTcp(address: Address, plan: HealthCheckPlan): Promise<CheckResult> {
  const { timeoutMs } = plan;
  return new Promise((resolve) => {
    const socket = connectTo(address, plan);
    const done = (up: boolean, detail: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ up, detail });
    };
    const timer = setTimeout(() => done(false, `no connection within ${timeoutMs} ms`), timeoutMs);
    // To be closed before the header has gone would be a reset, which servers log as a failure.
    socket.once("connect", () => socket.end(() => done(true, "connected")));
    socket.on("error", (error: NodeJS.ErrnoException) => done(false, error.code ?? error.message));
  });
}

/** Whether GET is answered with a status from 200 to 399 within the time; the body is not read. */
function checkHttp(address: Address, plan: HealthCheckPlan): Promise<CheckResult> {
  const { path, timeoutMs, host } = plan;
  return new Promise((resolve) => {
    const asked = request({
      path,
      createConnection: () => connectTo(address, plan),
      headers: {
        host,
        "user-agent": "weir-health-check",
        connection: "close",
      },
    });
    const done = (up: boolean, detail: string): void => {
      clearTimeout(timer);
      asked.destroy();
      resolve({ up, detail });
    };
    const timer = setTimeout(() => done(false, `no answer within ${timeoutMs} ms`), timeoutMs);
    asked.once("response", ({ statusCode = 0 }) =>
      done(statusCode >= 200 && statusCode < 400, `status ${statusCode}`),
    );
    asked.on("error", (error: NodeJS.ErrnoException) => done(false, error.code ?? error.message));
    asked.end();
  });
}

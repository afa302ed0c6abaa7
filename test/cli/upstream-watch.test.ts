import { afterEach, expect, test } from "vitest";
import { createLog } from "../../src/cli/log.ts";
import { UpstreamWatch } from "../../src/cli/upstream-watch.ts";
import { err, ok } from "../../src/common/result.ts";
import { UserError } from "../../src/common/user-error.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import type { LiveConfig } from "../../src/config/reload.ts";
import { cleanUp, onCleanUp, until, value } from "../proxy/rig.ts";

afterEach(cleanUp);

const refusal = new UserError("PROXY_NOT_RUNNING", "proxy", "it is shutting down");

for (const { outcome, result, told } of [
  {
    outcome: "in force",
    result: ok("in_force" as const),
    told: "upstream's names have other addresses",
  },
  { outcome: "overtaken by a reload", result: ok("overtaken" as const), told: undefined },
  { outcome: "refused", result: err([refusal]), told: "upstream's other addresses not taken" },
])
  test(`new addresses that are ${outcome} are logged as: ${told ?? "nothing"}`, async () => {
    const config = value(
      parseConfig(
        `version: 1
upstreams: { app: { resolveInterval: 5ms, addresses: ["localhost:9"] } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app }]
`,
        "t.yaml",
      ),
    );
    // The system's resolver finds another.
    const prepared = value(await preparePlan(config, { resolve: async () => ["192.0.2.1"] }));
    const lines: string[] = [];
    const log = createLog("info", {
      isTTY: false,
      writableLength: 0,
      once: () => process.stderr,
      write: (text) => lines.push(text) > 0,
    });
    let asked = 0;
    const readdress: LiveConfig["readdress"] = async () => {
      asked++;
      return result;
    };
    const watch = new UpstreamWatch(
      log,
      () => ({ readdress }),
      () => {},
    );
    onCleanUp(() => watch.stop());
    watch.follow({ config, prepared });
    // The second is asked once all of the first was done.
    await until(() => asked === 2);
    const messages = lines.map((line) => JSON.parse(line).msg);
    expect([...new Set(messages)]).toEqual(told === undefined ? [] : [told]);
  });

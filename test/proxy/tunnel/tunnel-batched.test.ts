/** What holds of tunnels with `io: dgram` holds with `io: mmsg`: the same tests, in batches. */
import { describe } from "vitest";
import { socketCallsProblem } from "../../../src/proxy/socket-calls.ts";

process.env.WEIR_TEST_IO = "mmsg";
const problem = await socketCallsProblem();

describe.skipIf(problem !== undefined)(`in batches${problem ? ` (${problem})` : ""}`, async () => {
  for (const file of [
    "tunnel-listener",
    "frames-in-slots",
    "tunnel-bad-input",
    "tunnel-capture",
    "tunnel-modes",
    "tunnel-broadcast",
    "tunnel-keys",
    "tunnel-reload",
    "source-ports",
  ])
    await import(`./${file}.test.ts`);
});

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { UserError } from "../../src/common/user-error.ts";

test("a message tells where, what, and how to mend it", () => {
  expect(new UserError("CODE", "a.yaml:1:2", "is wrong", "write it right").message).toBe(
    "a.yaml:1:2: is wrong; write it right",
  );
  expect(new UserError("CODE", "a.yaml:1:2", "is wrong").message).toBe("a.yaml:1:2: is wrong");
});

test("an error that is kept holds nothing of the function that made it", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  class Loader {
    readonly config = new Uint8Array(1024);
    refuse(): UserError {
      return new UserError("CODE", "a.yaml", `${this.config.length} bytes are wrong`);
    }
  }
  let loader: Loader | undefined = new Loader();
  const seen = new WeakRef(loader);
  const kept = loader.refuse();
  loader = undefined;
  // A WeakRef's target lives until the turn in which it was made has ended.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(seen.deref()).toBeUndefined();
  expect(kept.stack).toBe("UserError: a.yaml: 1024 bytes are wrong");
});

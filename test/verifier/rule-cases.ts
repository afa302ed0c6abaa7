import { contextRules } from "./rules/context-rules.ts";
import { flowRules } from "./rules/flow-rules.ts";
import { functionRules } from "./rules/function-rules.ts";
import { helperRules } from "./rules/helper-rules.ts";
import { leavingRules } from "./rules/leaving-rules.ts";
import { mapRules } from "./rules/map-rules.ts";
import { packetRules } from "./rules/packet-rules.ts";
import { pointerRules } from "./rules/pointer-rules.ts";
import type { RuleCase } from "./rules/rule-case.ts";
import { stackRules } from "./rules/stack-rules.ts";

/** Every rule of the verifier, by what it is about. */
export const ruleCases: readonly RuleCase[] = [
  ...flowRules,
  ...packetRules,
  ...mapRules,
  ...stackRules,
  ...contextRules,
  ...pointerRules,
  ...helperRules,
  ...functionRules,
  ...leavingRules,
];

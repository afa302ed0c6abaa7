import { type ConfigProblem, type KeyPath, type Position, pathText } from "./config-problem.ts";
import { explainIssue } from "./explain-issue.ts";
import { plainScalar, type YamlSource } from "./read-yaml.ts";
import { configSchema } from "./schema.ts";
import type { Environment } from "./substitution.ts";

/**
 * Environment variables that stand in for one value of any config, whatever the file says: every key
 * that is neither named by its user nor in a list. An empty one counts as not set. Others that begin with WEIR_ mean nothing:
 * Kubernetes sets some for a service of that name.
 */
export const overrides: Readonly<Record<string, KeyPath>> = {
  WEIR_WORKERS: ["workers"],
  WEIR_MEMORY: ["memory"],
  WEIR_DRAIN: ["drain"],
  WEIR_DRAIN_TIMEOUT: ["drainTimeout"],
  WEIR_STATE_DIR: ["stateDir"],
  WEIR_ADMIN_LISTEN: ["admin", "listen"],
  WEIR_ADMIN_TOKEN_FILE: ["admin", "tokenFile"],
  WEIR_RELOAD_WATCH: ["reload", "watch"],
  WEIR_LOG_LEVEL: ["log", "level"],
  WEIR_ACCESS_LOG_SESSIONS: ["accessLog", "sessions"],
  WEIR_ACCESS_LOG_SAMPLE: ["accessLog", "sample"],
  WEIR_ACCESS_LOG_DROPS: ["accessLog", "drops"],
  WEIR_METRICS_LISTEN: ["metrics", "listen"],
};

/**
 * The config with the values that the environment has for it. Each is a YAML scalar, and wrong ones
 * are told by their variable's name: `WEIR_WORKERS:1:1`; so is one that is right and does not go with
 * the rest.
 */
export function withOverrides(
  source: YamlSource,
  environment: Environment,
): { readonly source: YamlSource; readonly problems: readonly ConfigProblem[] } {
  let { value } = source;
  const names = new Map<string, string>();
  const problems: ConfigProblem[] = [];
  for (const [name, path] of Object.entries(overrides)) {
    const text = environment[name];
    if (text === undefined || text === "") continue;
    const override = plainScalar(text);
    const wrong = problemsOf(name, path, override);
    problems.push(...wrong);
    if (wrong.length > 0) continue;
    value = withValue(value, path, override);
    names.set(pathText(path), name);
  }
  const overrideOf = (path: KeyPath): string | undefined => names.get(pathText(path));
  const overridden: YamlSource = {
    ...source,
    value,
    fileOf: (path) => overrideOf(path) ?? source.fileOf(path),
    locate: (path) => (overrideOf(path) === undefined ? source.locate(path) : start),
    locateKey: (path) => (overrideOf(path) === undefined ? source.locateKey(path) : start),
  };
  return { source: overridden, problems };
}

/** Where a variable's value begins. */
const start: Position = { line: 1, column: 1 };

function problemsOf(name: string, path: KeyPath, value: unknown): ConfigProblem[] {
  const alone = withValue({}, path, value);
  const source: YamlSource = {
    file: name,
    value: alone,
    fromFiles: [],
    fileOf: () => name,
    has: () => true,
    isEmptyBlock: () => false,
    locate: () => start,
    locateKey: () => start,
  };
  return (configSchema.safeParse(alone).error?.issues ?? [])
    .filter((issue) => path.every((part, i) => issue.path[i] === part))
    .flatMap((issue) => explainIssue(issue, configSchema, source));
}

/** A copy of `block` with `value` at `path`. What is no block is left for the schema to refuse. */
function withValue(block: unknown, path: KeyPath, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (block === null || block === undefined) return { [key]: withValue({}, rest, value) };
  if (typeof block !== "object" || Array.isArray(block)) return block;
  const inner = (block as Readonly<Record<string, unknown>>)[key];
  return { ...block, [key]: withValue(inner, rest, value) };
}

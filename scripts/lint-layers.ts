/**
 * Holds the layout of `src/`: a folder imports only from folders of lower rank (or itself), and
 * nothing imports in a circle. Fails as well when it saw too few modules or imports, because a
 * structure check that sees nothing passes everything.
 */
import { readdirSync } from "node:fs";
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from "dependency-cruiser";

const ranks: Readonly<Record<string, number>> = {
  common: 0,
  isa: 1,
  packet: 1,
  pcap: 1,
  runtime: 2,
  object: 2,
  cbpf: 2,
  maps: 3,
  verifier: 3,
  engine: 4,
  filter: 5,
  proxy: 6,
  metrics: 6,
  config: 7,
  admin: 7,
  library: 8,
  cli: 8,
};

const folders = Object.keys(ranks);
const unranked = readdirSync("src", { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !(entry.name in ranks))
  .map((entry) => entry.name);

const rules: IFlattenedRuleSet = {
  forbidden: [
    ...folders.map((folder) => {
      const lower = folders.filter((other) => other === folder || ranks[other]! < ranks[folder]!);
      return {
        name: `${folder}-imports-lower-ranks-only`,
        severity: "error" as const,
        from: { path: `^src/${folder}/` },
        to: { path: "^src/", pathNot: `^src/(${lower.join("|")})/` },
      };
    }),
    { name: "no-circle", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    {
      name: "imports-resolve",
      severity: "error",
      from: { path: "^src/" },
      to: { couldNotResolve: true },
    },
    {
      name: "no-development-dependency",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/runtime/wasm/" },
      // Those become part of what is published (build-package.ts).
      to: {
        dependencyTypes: ["npm-dev"],
        pathNot: "^node_modules/(commander|ipaddr\\.js|pino|yaml|zod)/",
      },
    },
  ],
};

const { output } = await cruise(["src"], {
  ruleSet: rules,
  validate: true,
  doNotFollow: { path: "node_modules" },
  // Compiled by asc, in a module world of its own; it imports nothing from outside its folder.
  exclude: { path: "^src/runtime/wasm/(?!layout\\.ts)" },
  tsPreCompilationDeps: true,
  enhancedResolveOptions: { conditionNames: ["import", "node"], exportsFields: ["exports"] },
});
const { modules, summary } = output as ICruiseResult;
const sources = modules.filter((module) => module.source.startsWith("src/"));
const imports = sources.reduce((sum, module) => sum + module.dependencies.length, 0);

for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} → ${to}`);
for (const name of unranked) console.error(`src/${name} has no rank in scripts/lint-layers.ts`);
if (sources.length < 20 || imports < 20)
  console.error(`saw only ${sources.length} modules and ${imports} imports: the check is blind`);
const failed =
  summary.violations.length > 0 || unranked.length > 0 || sources.length < 20 || imports < 20;
console.log(`layers: ${sources.length} modules, ${imports} imports, ${failed ? "not ok" : "ok"}`);
process.exitCode = failed ? 1 : 0;

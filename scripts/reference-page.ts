import { overrides } from "../src/config/overrides.ts";

/** What of JSON Schema (draft 2020-12) the config's schema comes out as. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | false;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

const intro = `# The config

[weir.yaml](weir.yaml) is what \`npm start\` runs, [container.yaml](container.yaml) what the image
runs, [examples/](examples) has more. All keys are below. [weir.schema.json](weir.schema.json) gives
completion and help in editors: begin a file with

\`\`\`yaml
# yaml-language-server: $schema=./weir.schema.json
\`\`\`

- \`weir check -c FILE\` tells all that is wrong with a config, each with file, line and column.
- A key that is not below is an error.
- Durations are a whole number and a unit: \`500ms\`, \`60s\`, \`5m\`, \`1h\`. Sizes: \`64KiB\`, \`512MiB\`,
  \`1GiB\`.
- Addresses to listen on are an IP address and a port: \`127.0.0.1:5300\`, \`[::1]:5300\`. \`0.0.0.0\` is
  every IPv4 address, \`[::]\` every IPv6 and IPv4 address. \`:53\` is refused: write which is meant.
- Addresses to send to may be host names: \`nginx:80\`. They are looked up at the start,
  at each reload, and again every \`resolveInterval\`. A name without an address stops neither: the log
  says so, what is for an upstream without any is dropped as \`upstream_no_address\` (a connection is
  reset), \`weir_upstream_up\` has the name with 0, and it is looked up until it has an address. A sidecar
  may start before DNS answers: name servers that are silent delay its start, and a reload, by 3 s at
  most. Names are looked up as in \`/etc/hosts\`, else by DNS as \`/etc/resolv.conf\` says: its name servers,
  and \`search\` and \`ndots\`, by which a Kubernetes service's short name is found. Other sources
  (\`/etc/nsswitch.conf\`: mDNS, LDAP) are not asked.
- Paths are relative to the config file's folder.
- In a value, \`\${NAME}\` is the environment variable NAME, \`\${NAME:-text}\` has a default for where it
  is not set or empty, \`\${file:PATH}\` is what a file holds, without its last line end; \`$\${\` is a
  plain \`\${\`. Without quotes the result is read as YAML reads it (\`workers: \${WORKERS}\` is a
  number); between \`{ }\` YAML itself wants quotes around it. What is filled in is not searched again.
  An error in the config shows \`\${file:PATH}\` in place of what the file holds: secrets go into map
  entries and \`globals\` that way. What is used as a name, an address or a path is no secret: the log,
  metrics and the control API show it like any other.
- Some environment variables stand in for a value whatever the file says: ${overrideList()}. One that is empty counts as not set. Others that
  begin with \`WEIR_\` mean nothing.
- A running proxy reads its config again on SIGHUP and on \`weir reload\`; with
  \`reload: { watch: true }\` also when it or a file that it names changes. A config with an error
  changes nothing: the log and \`weir reload\` tell why.
- Keys and values of map entries take the form of their BTF type: numbers, addresses, CIDR for the
  keys of LPM tries, names for enums, lists for arrays, blocks for structs; or \`hex:\` and all bytes. On a per-CPU
  map each CPU gets the value. A device map's value may be the name of a port's upstream. In an entry
  file a line is \`key,value\`. Text for a struct that begins with \`{\` (for an array, with \`[\`) is read as a block
  (a list) wherever values are written: in quotes in a config, in \`weir map update\`, \`--map\` and \`--global\`.

## Access log

JSON lines of level \`info\` beside the rest of the log (\`accessLog\`). \`session start\` and \`session end\`
have the listener, protocol, client and upstream address and a \`session\` that is the same in both; the
end has \`reason\`, \`durationMs\`, and for \`ingress\` and \`egress\` the packets by verdict and the bytes of
their frames. Reasons are \`closed\`, \`idle\`, \`client_reset\`, \`upstream_reset\`, or a
[drop's](metrics.md). A TCP connection that reaches no upstream has an end only.
\`via\` is the proxy whose PROXY header told the client's address. \`connection refused\`, logged with the
drops, is a connection reset for its PROXY header: \`client\` is its peer, \`reason\` as in
\`weir_receive_errors_total\`, \`detail\` what was wrong. Where a worker dies its sessions end with reason
\`worker_died\`, without packets and bytes: what they carried is not known, and lines of the last 100 ms
are lost, so that some of its sessions have no start, or no end but this. \`packet dropped\` has
direction and reason. What comes too fast (100 drops, 10,000 session lines a second and worker) is
left out, and \`access log lines left out\` tells how many. A reload that turns drops on logs them of
sessions that are open, too; starts and ends are logged of sessions that begin after it.

Of all that is logged, 4 MiB wait for a reader that does not keep up. Lines beyond are left out; once it
has read those, \`log lines left out\` tells how many. At the end it has two seconds to read what waits.

## Reload

Nothing changes until the new config is checked, its programs are compiled and its sockets bound;
then every worker swaps between two packets.

- A listener with the protocol and address that it had keeps its socket, UDP sessions and TCP
  connections. Their next packet meets the new chains; destinations hold for new sessions. One that is
  gone lets its connections end for \`drainTimeout\`, with the filters that they had.
- Where \`maxSessions\` is lower than before, in the config or because more listeners share the files
  that the process may open, no open session ends for it: it holds for new ones, each of which ends the
  one that was used longest ago. \`weir reload\` warns of what is done differently than the config says.
- Maps keep their contents where filter, map name, type, key size, value size and flags are the same;
  a map with a larger \`max_entries\` takes them over, and so does one with a smaller, if they fit (what
  programs write while they are copied may be lost). Else the config is refused, unless the filter says
  \`onSchemaChange: reset\`. \`.rodata\`, \`.data\`, \`.bss\` and prog_arrays start fresh.
- Maps of maps go on with the maps that they hold, those put in or taken out at run time too: each by
  its filter and name. An entry whose map the next config no longer makes goes, with a warning.
- Entries and entry files: what is gone from the config is deleted (in arrays: zeroed), what is new or
  changed there is written. An entry that the config has as before keeps what a program made of it;
  entries made at run time stay.
- Those are the maps' one exception to the swap: where a map has room for old and new entries together,
  new ones are written just before it, one after another, and old ones deleted just after it. Every
  look-up meanwhile finds what the one config has or the other, in tries too (longer prefixes come
  first and go last), so that a packet whose rule is in both is judged by it. Nothing that programs
  count is lost. Where a map has less room, the next plan gets a copy of it with the new entries: the
  exact swap, for which both need room in \`memory\`, and for which what programs write while it is made
  may be lost.
- A tunnel keeps its counts and the sessions behind peers that stay. Its \`mode\` and \`healthCheck\`,
  and peers of an address family that a bridge had none of, need a restart or another port.
- A listener's \`io\` is its socket's: to change it takes a restart or another port too. What \`auto\`
  came to is in the log (\`listening\`), in \`/v1/listeners\` and in \`weir_listener_info\`.
- Counters go on by name, also where a listener, a filter or a tunnel's peer goes with one reload and comes
  back with a later one (of the last 64 that went): none falls while the process runs. A filter that was disabled
  stays so, one that was promoted too. Captures go on. \`workers\`, \`memory\` and \`admin\` need a restart. While
  both are there, old and new maps share \`memory\`.

## Pinned maps

A map is kept across restarts in \`stateDir\` where the config says \`pin: true\`, or after
\`weir map pin MAP\` on a running proxy: saved then, every 30 seconds and at the end, and read back at
each start. A file is named for filter and map, written beside its place and moved there, and ends in a
checksum; one that is damaged, or of a map of another schema, refuses the start.

- \`weir map unpin MAP\` ends what \`weir map pin\` began and removes the file. What the config pins, only
  the config can end; its file stays. \`weir map show MAP\` names the file of a map that is kept.
- A map whose filter a reload takes away is saved once more, and is read back with the filter. One that
  a reload keeps goes on with what it holds, whatever its file says.
- A pin made at run time is remembered in \`stateDir\` itself (a file \`.pinned\` beside the map's): in
  another \`stateDir\` it does not hold.
- Queues, stacks, arrays, hashes, tries and devmaps can be kept; maps of maps, of programs and of events,
  and a program's variables cannot.

## Shadows

A filter with \`shadow: true\` is a candidate. Where a chain names it, it is asked about the frame as it
is there, on maps of its own, and the chain goes on as if it were not there: what it writes, sends or
says has no effect. Its verdicts are counted beside the chain's (\`weir filter shadow\`,
\`weir_shadow_verdicts_total\`), and \`weir capture --shadow\` shows the packets on which they differ. A
chain that has ended asks nobody behind: put the candidate before the filter that it is to replace.

- It costs what a filter costs, and copying the frame there and back.
- \`weir filter promote NAME\` makes it live between two packets, with its maps as they are;
  \`--instead-of OLD\` disables the one before it at once. It then stays live over reloads for as long as
  the config has it as a shadow. A restart goes by the config: write \`shadow: false\` there too, which
  keeps its maps.
- A map that its object pins by name (\`LIBBPF_PIN_BY_NAME\`) is its own while the config has it as a
  shadow, and is not kept in \`stateDir\`. After that it is the one that filters share; where none had
  one, it goes on as that.

## Swaps

\`weir filter swap NAME OBJECT[:SECTION]\` gives a running filter another object, as a reload would: all
or nothing, maps by the rules above. The config in force is its base, whatever its file says by now.
Reloads keep the swap until the file names another source for that filter; \`weir reload\` lists what
is swapped, and \`weir filter swap NAME --undo\` goes back to the config's. A restart goes by the config.

This page and the schema are generated: \`npm run build:schema\`.
`;

function overrideList(): string {
  return Object.entries(overrides)
    .map(([name, path]) => `\`${name}\` (\`${path.join(".")}\`)`)
    .join(", ");
}

interface Section {
  readonly path: string;
  readonly schema: JsonSchema;
}

/** The reference of all keys in Markdown: a table for each block, in the order of the schema. */
export function referencePage(root: JsonSchema): string {
  let page = intro;
  const shown = new Map<string, string>();
  const queue: Section[] = [{ path: "", schema: root }];
  for (let section = queue.shift(); section !== undefined; section = queue.shift()) {
    const { path, schema } = section;
    // Counters, gauges and histograms have the same labels: told once.
    const body = JSON.stringify(schema);
    const known = shown.get(body);
    if (known !== undefined) {
      page += `\n## \`${path}\`\n\nAs \`${known}\`.\n`;
      continue;
    }
    shown.set(body, path);
    page += path === "" ? "\n## Top level\n" : `\n## \`${path}\`\n`;
    if (path !== "" && schema.description !== undefined) page += `\n${schema.description}\n`;
    page += "\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n";
    const inner: Section[] = [];
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      const required = schema.required?.includes(key) ?? false;
      page += `| \`${key}\` | ${cell(typeText(value))} | ${cell(defaultText(value, required))} | ${cell(value.description ?? "")} |\n`;
      inner.push(...blocksOf(value, path === "" ? key : `${path}.${key}`));
    }
    queue.unshift(...inner);
  }
  return page;
}

/** The blocks with keys of their own within a value, and the paths under which they stand. */
function blocksOf(schema: JsonSchema, path: string): Section[] {
  if (schema.properties !== undefined) return [{ path, schema }];
  if (schema.anyOf !== undefined) {
    const { description = "" } = schema;
    return schema.anyOf.flatMap((one) => blocksOf({ description, ...one }, path));
  }
  if (schema.items !== undefined) return blocksOf(schema.items, `${path}[]`);
  if (schema.oneOf !== undefined)
    return schema.oneOf
      .filter((one) => Object.keys(one.properties ?? {}).length > 1)
      .flatMap((one) => blocksOf(one, `${path} (${one.properties?.name?.const ?? ""})`));
  const { additionalProperties } = schema;
  if (additionalProperties === undefined || additionalProperties === false) return [];
  return blocksOf(additionalProperties, `${path}.NAME`);
}

function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum !== undefined) return schema.enum.map((word) => `\`${word}\``).join(", ");
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(" or ");
  if (schema.oneOf !== undefined)
    return `one of ${schema.oneOf.map((one) => `\`${one.properties?.name?.const}\``).join(", ")}`;
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}`;
  if (schema.properties !== undefined) return "block";
  if (schema.additionalProperties)
    return `names, each with ${typeText(schema.additionalProperties)}`;
  switch (schema.type) {
    case "integer":
      return schema.maximum === undefined || schema.maximum === Number.MAX_SAFE_INTEGER
        ? `whole number from ${schema.minimum}`
        : `whole number ${schema.minimum} to ${schema.maximum}`;
    case "number":
      return "number";
    case "boolean":
      return "`true` or `false`";
    case "string":
      return schema.examples?.[0] === undefined ? "text" : `text such as \`${schema.examples[0]}\``;
    default:
      return "value";
  }
}

function defaultText(schema: JsonSchema, required: boolean): string {
  if (required) return "**required**";
  if (schema.default === undefined) return "";
  return typeof schema.default === "object"
    ? Object.keys(schema.default as object).length === 0
      ? "none"
      : `\`${JSON.stringify(schema.default).replaceAll('"', "")}\``
    : `\`${schema.default}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

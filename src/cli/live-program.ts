import type { z } from "zod";
import type { ControlClient } from "../admin/client.ts";
import type { filterReply, programReply } from "../admin/replies.ts";
import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { segment } from "./control-client.ts";
import { referenceOf } from "./entry-words.ts";
import { type LiveFilter, loadLive, splitItem } from "./live-filter.ts";

/**
 * Programs or maps by bpftool's words; all without any. `name NAME` and `tag TAG` mean all that
 * have it, other words one.
 */
export async function namedOf<Item extends { readonly name: string }>(
  client: ControlClient,
  path: "/v1/programs" | "/v1/maps",
  words: readonly string[],
): Promise<Result<readonly Item[], UserError>> {
  const [kind, wanted] = words;
  if (words.length === 0 || (words.length === 2 && (kind === "name" || kind === "tag"))) {
    const all = await client.get(path);
    if (!all.ok) return all;
    const items = all.value as (Item & { readonly tag?: string })[];
    if (words.length === 0) return ok(items);
    const found = items.filter((item) => item[kind as "name" | "tag"] === wanted);
    if (found.length > 0) return ok(found);
  }
  const reference = referenceOf(words);
  if (!reference.ok) return reference;
  const one = await client.get(`${path}/${segment(reference.value)}`);
  return one.ok ? ok([one.value as Item]) : one;
}

/** A program of a running proxy: its filter's object, with what its maps hold now. */
export interface LiveProgram {
  readonly loaded: LiveFilter;
  readonly program: z.output<typeof programReply>;
}

/** The program that bpftool's words name. */
export async function liveProgram(
  client: ControlClient,
  words: readonly string[],
): Promise<Result<LiveProgram, UserError>> {
  const reference = referenceOf(words);
  if (!reference.ok) return reference;
  const program = await client.get(`/v1/programs/${segment(reference.value)}`);
  if (!program.ok) return program;
  const found = program.value as z.output<typeof programReply>;
  const [name] = splitItem(found.filter);
  const filter = await client.get(`/v1/filters/${segment(name)}`);
  if (!filter.ok) return filter;
  const loaded = await loadLive(client, name, filter.value as z.output<typeof filterReply>);
  if (!loaded.ok) return loaded;
  return ok({ loaded: loaded.value, program: found });
}

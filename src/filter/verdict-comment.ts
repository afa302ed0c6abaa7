import type { Verdict } from "./verdict.ts";

/**
 * What is written about a packet into a capture: `verdict=drop filter=blocklist
 * reason=filter_drop`. Words that scripts and Wireshark (`frame.comment contains "verdict=drop"`)
 * can look for; a word that does not apply is left out.
 */
export function verdictComment(verdict: Verdict, filter: string | undefined): string {
  const words = [`verdict=${verdict.kind}`];
  if (filter !== undefined) words.push(`filter=${filter}`);
  if ("reason" in verdict) words.push(`reason=${verdict.reason}`);
  if (verdict.kind === "redirect")
    words.push(
      verdict.broadcast === undefined
        ? `ifindex=${verdict.ifindex}`
        : `ports=${verdict.broadcast.ports.join()}`,
    );
  return words.join(" ");
}

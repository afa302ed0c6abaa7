import type { MapSpec } from "../../src/object/object-spec.ts";
import { mapSpec } from "../maps/open-map.ts";

/** A word as maps and frames on this machine have it. */
export function word(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

/** A devmap or devmap_hash with these ports under the keys 0, 1, 2, …; 0: none there. */
export function portMap(type: "devmap" | "devmap_hash", ports: readonly number[]): MapSpec {
  const contents = ports
    .map((port, key) => ({ key: word(key), value: word(port) }))
    .filter(({ value }) => value.some(Boolean));
  return mapSpec(type, 4, 4, Math.max(1, ports.length), { contents });
}

/** An XDP program that sends each frame to all ports of its first map. */
export function flood({ excludeIngress = false } = {}): string {
  return `r1 = map_by_fd(0) ll\nr2 = 0\nr3 = ${excludeIngress ? 24 : 8}\ncall 51\nexit`;
}

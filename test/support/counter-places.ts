import { type CounterPlaces, type CounterShape, placeBytes } from "../../src/filter/counters.ts";

/** Places one after another in `counterBytes(shape)` bytes from `offset` on. */
export function placesFrom(offset: number, shape: CounterShape): CounterPlaces {
  let next = offset;
  const take = (kind: keyof CounterPlaces): number[] =>
    Array.from({ length: shape[kind] ?? 0 }, () => {
      const place = next;
      next += placeBytes[kind];
      return place;
    });
  return {
    listeners: take("listeners"),
    filters: take("filters"),
    addresses: take("addresses"),
    lanes: take("lanes"),
  };
}

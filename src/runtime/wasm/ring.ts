/**
 * Rings of records that programs write and the main thread reads: ringbuf (kernel/bpf/ringbuf.c),
 * and one a worker for perf_event_array.
 *
 * A record is reserved, filled, then committed or discarded by one store to its length. The reader
 * stops at the first that is neither yet.
 */
import {
  MAP_RING_COUNT,
  MAP_RING_STRIDE,
  MAP_RINGS,
  MAP_TYPE,
  RECORD_BUSY,
  RECORD_DISCARDED,
  RECORD_HEADER_BYTES,
  RECORD_LENGTH,
  RECORD_OWNER,
  RING_CONSUMER,
  RING_HEADER_BYTES,
  RING_LOST,
  RING_MASK,
  RING_PENDING,
  RING_PRODUCER,
  TYPE_RINGBUF,
} from "./layout";
import { lock, unlock } from "./lock";
import { publish, publish64, put, put64, shared, shared64 } from "./memory";

const BUSY = RECORD_BUSY as u32;
const DISCARDED = RECORD_DISCARDED as u32;
const HEADER = RECORD_HEADER_BYTES as u32;
/** RINGBUF_MAX_RECORD_SZ. */
const MOST_RECORD_BYTES: u32 = 0x3fffffff;

/** `count` rings of `dataBytes` each, `stride` bytes apart. */
export function initializeRings(
  map: usize,
  storage: u32,
  count: u32,
  dataBytes: u32,
  stride: u32,
): void {
  put(map + MAP_RINGS, storage);
  put(map + MAP_RING_STRIDE, stride);
  put(map + MAP_RING_COUNT, count);
  for (let i: u32 = 0; i < count; i++) put(storage + i * stride + RING_MASK, dataBytes - 1);
}

function ringAt(map: usize, index: u32): usize {
  return load<u32>(map, MAP_RINGS) + index * load<u32>(map, MAP_RING_STRIDE);
}

function recordAt(ring: usize, position: u64): usize {
  return ring + RING_HEADER_BYTES + ((position as u32) & load<u32>(ring, RING_MASK));
}

/** Bytes that a record of this length takes. */
function recordBytes(length: u32): u32 {
  return (length + HEADER + 7) & ~7;
}

/**
 * Room for `size` bytes in ring `index`, or 0 (counted as lost). A worker's own ring has one writer
 * and needs no lock; a ringbuf has the map's.
 */
export function reserve(map: usize, index: u32, size: u32, cpu: u32): usize {
  const ring = ringAt(map, index);
  if (load<u32>(map, MAP_TYPE) !== TYPE_RINGBUF) return reserveIn(ring, size, cpu);
  if (!lock(map, cpu)) return 0;
  const record = reserveIn(ring, size, cpu);
  unlock(map);
  return record;
}

function reserveIn(ring: usize, size: u32, cpu: u32): usize {
  const mask = load<u32>(ring, RING_MASK);
  const producer = load<u64>(ring, RING_PRODUCER);
  const taken = recordBytes(size);
  if (size > MOST_RECORD_BYTES || taken > mask + 1 || !hasRoom(ring, producer + taken)) {
    put64(ring + RING_LOST, load<u64>(ring, RING_LOST) + 1);
    return 0;
  }
  const record = recordAt(ring, producer);
  publish(record + RECORD_LENGTH, size | BUSY);
  put(record + RECORD_OWNER, cpu + 1);
  publish64(ring + RING_PRODUCER, producer + taken);
  return record + HEADER;
}

/** Whether the ring's oldest record and its oldest uncommitted one both stay before `end`. */
function hasRoom(ring: usize, end: u64): bool {
  const mask = load<u32>(ring, RING_MASK) as u64;
  const consumer = shared64(ring + RING_CONSUMER);
  const producer = load<u64>(ring, RING_PRODUCER);
  let pending = load<u64>(ring, RING_PENDING);
  while (pending < producer) {
    const length = shared(recordAt(ring, pending) + RECORD_LENGTH);
    if ((length & BUSY) !== 0) break;
    pending += recordBytes(length & ~DISCARDED);
  }
  put64(ring + RING_PENDING, pending);
  return end - consumer <= mask && end - pending <= mask;
}

/** Ends the writing of what `reserve` returned: the reader gets it, or passes it by. */
export function commit(sample: usize, isDiscarded: bool): void {
  const record = sample - HEADER;
  const length = load<u32>(record, RECORD_LENGTH) & ~BUSY;
  publish(record + RECORD_LENGTH, isDiscarded ? length | DISCARDED : length);
}

/** The oldest record of a ring that is committed, or 0. Main thread only. */
export function nextRecord(map: usize, index: u32): usize {
  const ring = ringAt(map, index);
  const producer = shared64(ring + RING_PRODUCER);
  let consumer = load<u64>(ring, RING_CONSUMER);
  while (consumer !== producer) {
    const record = recordAt(ring, consumer);
    const length = shared(record + RECORD_LENGTH);
    if ((length & BUSY) !== 0) return 0;
    if ((length & DISCARDED) === 0) return record;
    consumer += recordBytes(length & ~DISCARDED);
    publish64(ring + RING_CONSUMER, consumer);
  }
  return 0;
}

/** Gives the room of `nextRecord`'s record back. Main thread only. */
export function releaseRecord(map: usize, index: u32): void {
  const ring = ringAt(map, index);
  const consumer = load<u64>(ring, RING_CONSUMER);
  const length = load<u32>(recordAt(ring, consumer), RECORD_LENGTH);
  publish64(ring + RING_CONSUMER, consumer + recordBytes(length & ~DISCARDED));
}

/** Discards what a dead worker reserved and never committed. Main thread only. */
export function discardOf(map: usize, cpu: u32): void {
  const count = load<u32>(map, MAP_RING_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const ring = ringAt(map, i);
    const producer = shared64(ring + RING_PRODUCER);
    let position = load<u64>(ring, RING_CONSUMER);
    while (position < producer) {
      const record = recordAt(ring, position);
      const length = shared(record + RECORD_LENGTH);
      if ((length & BUSY) !== 0 && load<u32>(record, RECORD_OWNER) === cpu + 1)
        commit(record + HEADER, true);
      position += recordBytes(length & ~(BUSY | DISCARDED));
    }
  }
}

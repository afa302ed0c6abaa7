// The programs of the engine bench as machine code that clang makes of the same C, with no eBPF in
// between: what any engine could reach at best. The packet comes in hex on stdin, as for
// engine-kernel.c. One line a program: its name, what it returned, nanoseconds a run. As in Weir's
// batches, each call of a program finds the next of 16 packets. `hash_flow` is not here: it would be
// some other hash map that is measured.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

// In place of bpf/bpf_helpers.h.
#define __BPF_HELPERS__
#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __noinline __attribute__((noinline))
static inline void *bpf_map_lookup_elem(void *map, const void *key);

#include "engine-programs.c"

static unsigned long long counts[256];

static inline void *bpf_map_lookup_elem(void *map, const void *key) {
  unsigned index = *(const unsigned *)key;
  return map == (void *)&counters && index < 256 ? &counts[index] : NULL;
}

#define SLOTS 16
#define ROOM 66944
static const long long run_ns = 5000000;

struct slot {
  struct xdp_md context;
  int returned;
};

// What is in memory may change from run to run: the program is run each time.
#define BATCH(name)                                       \
  static void batch_##name(struct slot *slots) {          \
    for (int i = 0; i < SLOTS; i++) {                     \
      slots[i].returned = name(&slots[i].context);        \
      asm volatile("" : : : "memory");                    \
    }                                                     \
  }
BATCH(pass)
BATCH(parse)
BATCH(array_counter)
BATCH(parse_256)
BATCH(array_counter_256)
BATCH(checksum)
BATCH(fnv)
BATCH(calls)

#define ROW(name) {#name, batch_##name}
static const struct {
  const char *name;
  void (*batch)(struct slot *);
} programs[] = {ROW(pass), ROW(parse), ROW(array_counter), ROW(parse_256), ROW(array_counter_256),
                ROW(checksum), ROW(fnv), ROW(calls)};

static double cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

static double batches_ns(void (*batch)(struct slot *), struct slot *slots, long count) {
  double from = cpu_ns();
  for (long i = 0; i < count; i++) batch(slots);
  return cpu_ns() - from;
}

int main(void) {
  static char line[1 << 15];
  if (fgets(line, sizeof line, stdin) == NULL) return 3;
  size_t length = strcspn(line, "\n") / 2;
  if (length > ROOM) return 3;
  // A context's addresses have 32 bits.
  unsigned char *room = mmap((void *)0x20000000, (size_t)SLOTS * ROOM, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (room != (void *)0x20000000) return 4;
  static struct slot slots[SLOTS];
  for (int i = 0; i < SLOTS; i++) {
    unsigned char *data = room + (size_t)i * ROOM;
    for (size_t at = 0; at < length; at++) {
      unsigned value;
      if (sscanf(line + 2 * at, "%2x", &value) != 1) return 5;
      data[at] = (unsigned char)value;
    }
    slots[i].context.data = (unsigned)(unsigned long)data;
    slots[i].context.data_end = (unsigned)(unsigned long)(data + length);
  }
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
    long count = 16;
    double ns = batches_ns(programs[i].batch, slots, count);
    while (ns < run_ns / 4) {
      count *= 2;
      ns = batches_ns(programs[i].batch, slots, count);
    }
    count = (long)(count * run_ns / ns) + 1;
    ns = batches_ns(programs[i].batch, slots, count);
    printf("%s %d %.3f\n", programs[i].name, slots[0].returned, ns / ((double)count * SLOTS));
  }
  return 0;
}

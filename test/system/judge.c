// The kernel as judge: loads an object, fills its maps, runs packets, shows what came of it.
//
// Usage: judge OBJECT [PROGRAM]            without the name of one all programs are loaded
// In, a line each:                         Out, a line of JSON each:
//   update MAP KEY VALUE (hex)               {"error":0} or errno; a per-CPU value goes to every CPU,
//                                            and what a short one lacks is zero
//   slot MAP KEY PROGRAM                     {"error":0}
//   make MAP NAME ENTRIES                    {"error":0}; one more map as those that MAP is to hold
//   put MAP KEY INNER                        {"error":0}; INNER is a map, or one made
//   run PROGRAM PACKET [CONTEXT] (hex)       {"ret":N,"data":HEX,"ctx":HEX} or {"error":errno}
//   show MAP                                 {"entries":[[KEY,VALUE],...]}
//   maps                                     {"maps":{NAME:[[KEY,VALUE],...]}}
//
// A tc or cgroup_skb program that is given no context gets one of the loopback device.
// It stays on one CPU: per-CPU values shown are that CPU's. Ringbufs show [["",RECORD],...] and
// perf_event_arrays [[CPU,RECORD],...], read once; queues and stacks are emptied. What holds programs,
// maps or devices is not shown.
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cpu, cpus;
static unsigned char key[4096], next[4096], value[1 << 21];

static size_t parse_hex(const char *text, unsigned char *bytes, size_t room) {
  size_t length = strlen(text) / 2;
  if (length > room) exit(3);
  for (size_t i = 0; i < length; i++) {
    unsigned byte;
    if (sscanf(text + 2 * i, "%2x", &byte) != 1) exit(4);
    bytes[i] = (unsigned char)byte;
  }
  return length;
}

static void print_hex(const unsigned char *bytes, size_t length) {
  putchar('"');
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  putchar('"');
}

static int is_per_cpu(const struct bpf_map *map) {
  switch (bpf_map__type(map)) {
  case BPF_MAP_TYPE_PERCPU_ARRAY:
  case BPF_MAP_TYPE_PERCPU_HASH:
  case BPF_MAP_TYPE_LRU_PERCPU_HASH:
    return 1;
  default:
    return 0;
  }
}

static size_t stride(const struct bpf_map *map) {
  return (bpf_map__value_size(map) + 7) / 8 * 8;
}

static int update(const struct bpf_map *map, char *key_text, const char *value_text) {
  parse_hex(key_text, key, sizeof key);
  memset(value, 0, bpf_map__value_size(map));
  size_t length = parse_hex(value_text, value, sizeof value);
  if (is_per_cpu(map))
    for (int i = 1; i < cpus; i++) memcpy(value + i * stride(map), value, length);
  return bpf_map_update_elem(bpf_map__fd(map), bpf_map__key_size(map) ? key : NULL, value, BPF_ANY);
}

static void entry(const char *separator, const struct bpf_map *map, const unsigned char *from) {
  printf("%s[", separator);
  print_hex(key, bpf_map__key_size(map));
  putchar(',');
  print_hex(from, bpf_map__value_size(map));
  putchar(']');
}

static const char *record_separator;

static int record(void *context, void *data, size_t size) {
  (void)context;
  printf("%s[\"\",", record_separator);
  print_hex(data, size);
  putchar(']');
  record_separator = ",";
  return 0;
}

static void event(void *context, int from, void *data, __u32 size) {
  (void)context;
  printf("%s[\"%08x\",", record_separator, __builtin_bswap32((unsigned)from));
  print_hex(data, size);
  putchar(']');
  record_separator = ",";
}

// What programs write into a perf_event_array is lost unless somebody listens.
static struct { const struct bpf_map *map; struct perf_buffer *buffer; } listeners[8];
static int listening;

static void listen_to_events(const struct bpf_object *object) {
  const struct bpf_map *map;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__type(map) != BPF_MAP_TYPE_PERF_EVENT_ARRAY) continue;
    if (listening == sizeof listeners / sizeof *listeners) exit(13);
    listeners[listening].map = map;
    listeners[listening].buffer = perf_buffer__new(bpf_map__fd(map), 64, event, NULL, NULL, NULL);
    if (listeners[listening++].buffer == NULL) exit(14);
  }
}

static struct { char name[16]; int fd; } made[8];
static int makes;

// What maps of maps are to hold, which libbpf forgets once it has loaded them.
static struct { const struct bpf_map *outer; enum bpf_map_type type; __u32 key, value, flags; } templates[8];
static int templated;

static void note_templates(const struct bpf_object *object) {
  struct bpf_map *map;
  bpf_object__for_each_map(map, object) {
    const struct bpf_map *inner = bpf_map__inner_map(map);
    if (inner == NULL) continue;
    if (templated == sizeof templates / sizeof *templates) exit(15);
    templates[templated].outer = map;
    templates[templated].type = bpf_map__type(inner);
    templates[templated].key = bpf_map__key_size(inner);
    templates[templated].value = bpf_map__value_size(inner);
    templates[templated++].flags = bpf_map__map_flags(inner);
  }
}

// What user space does where a map of maps is declared with a template alone.
static int make(const struct bpf_map *outer, const char *name, const char *entries) {
  int i = 0;
  while (i < templated && templates[i].outer != outer) i++;
  if (i == templated || makes == sizeof made / sizeof *made || strlen(name) > 15) exit(16);
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = templates[i].flags);
  int fd = bpf_map_create(templates[i].type, name, templates[i].key, templates[i].value,
                          (unsigned)atoi(entries), &options);
  strcpy(made[makes].name, name);
  made[makes++].fd = fd;
  return fd < 0;
}

static int inner_fd(const struct bpf_object *object, const char *name) {
  for (int i = 0; i < makes; i++)
    if (strcmp(made[i].name, name) == 0) return made[i].fd;
  return bpf_object__find_map_fd_by_name(object, name);
}

static void dump(const struct bpf_map *map) {
  int fd = bpf_map__fd(map);
  const char *separator = "";
  switch (bpf_map__type(map)) {
  case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    record_separator = "";
    for (int i = 0; i < listening; i++)
      if (listeners[i].map == map && perf_buffer__consume(listeners[i].buffer) < 0) exit(8);
    return;
  case BPF_MAP_TYPE_RINGBUF: {
    struct ring_buffer *ring = ring_buffer__new(fd, record, NULL, NULL);
    record_separator = "";
    if (ring == NULL || ring_buffer__consume(ring) < 0) exit(8);
    ring_buffer__free(ring);
    return;
  }
  case BPF_MAP_TYPE_QUEUE:
  case BPF_MAP_TYPE_STACK:
    for (; bpf_map_lookup_and_delete_elem(fd, NULL, value) == 0; separator = ",")
      entry(separator, map, value);
    return;
  default:
    break;
  }
  for (void *last = NULL; bpf_map_get_next_key(fd, last, next) == 0; last = key) {
    memcpy(key, next, bpf_map__key_size(map));
    if (bpf_map_lookup_elem(fd, key, value) != 0) exit(9);
    entry(separator, map, is_per_cpu(map) ? value + cpu * stride(map) : value);
    separator = ",";
  }
}

static int is_shown(const struct bpf_map *map) {
  switch (bpf_map__type(map)) {
  case BPF_MAP_TYPE_ARRAY:
  case BPF_MAP_TYPE_HASH:
  case BPF_MAP_TYPE_LRU_HASH:
  case BPF_MAP_TYPE_LPM_TRIE:
  case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
  case BPF_MAP_TYPE_RINGBUF:
  case BPF_MAP_TYPE_QUEUE:
  case BPF_MAP_TYPE_STACK:
    return 1;
  default:
    return is_per_cpu(map);
  }
}

static void run(const struct bpf_program *program, const char *packet_text, const char *context_text) {
  static unsigned char packet[1 << 16], out[1 << 17], context_out[512];
  union {
    struct __sk_buff skb;
    struct xdp_md xdp;
    unsigned char bytes[512];
  } context = {.skb = {.ingress_ifindex = 1, .ifindex = 1}};
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_out = out,
              .data_size_out = sizeof out, .repeat = 1);
  options.data_size_in = parse_hex(packet_text, packet, sizeof packet);
  if (bpf_program__type(program) != BPF_PROG_TYPE_XDP || context_text != NULL) {
    options.ctx_in = &context;
    options.ctx_size_in = context_text == NULL
                            ? sizeof context.skb
                            : parse_hex(context_text, context.bytes, sizeof context);
    options.ctx_out = context_out;
    options.ctx_size_out = options.ctx_size_in;
  }
  if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) {
    printf("{\"error\":%d}\n", errno);
    return;
  }
  printf("{\"ret\":%u,\"data\":", options.retval);
  print_hex(out, options.data_size_out);
  printf(",\"ctx\":");
  print_hex(context_out, options.ctx_size_out);
  puts("}");
}

static void stay_on_one_cpu(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) exit(5);
  while (!CPU_ISSET(cpu, &set)) cpu++;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) exit(5);
  cpus = libbpf_num_possible_cpus();
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) return 2;
  stay_on_one_cpu();
  struct bpf_object *object = bpf_object__open(argv[1]);
  if (object == NULL) return 6;
  struct bpf_map *map;
  bpf_object__for_each_map(map, object) bpf_map__set_pin_path(map, NULL);
  struct bpf_program *one;
  bpf_object__for_each_program(one, object)
    bpf_program__set_autoload(one, argc == 2 || strcmp(bpf_program__name(one), argv[2]) == 0);
  note_templates(object);
  if (bpf_object__load(object) != 0) return 7;
  listen_to_events(object);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    line[strcspn(line, "\n")] = 0;
    char *rest = line, *verb = strsep(&rest, " "), *name = strsep(&rest, " ");
    char *first = strsep(&rest, " "), *second = strsep(&rest, " ");
    if (strcmp(verb, "maps") == 0) {
      const char *separator = "";
      printf("{\"maps\":{");
      bpf_object__for_each_map(map, object) {
        if (!is_shown(map)) continue;
        printf("%s\"%s\":[", separator, bpf_map__name(map));
        dump(map);
        putchar(']');
        separator = ",";
      }
      puts("}}");
    } else if (strcmp(verb, "run") == 0) {
      const struct bpf_program *program = bpf_object__find_program_by_name(object, name);
      if (program == NULL) return 10;
      run(program, first, second);
    } else {
      map = bpf_object__find_map_by_name(object, name);
      if (map == NULL) return 11;
      if (strcmp(verb, "show") == 0) {
        printf("{\"entries\":[");
        dump(map);
        puts("]}");
        continue;
      }
      if (strcmp(verb, "make") == 0) {
        printf("{\"error\":%d}\n", make(map, first, second) == 0 ? 0 : errno);
        continue;
      }
      char fd_hex[9];
      int fd = strcmp(verb, "slot") == 0
                 ? bpf_program__fd(bpf_object__find_program_by_name(object, second))
             : strcmp(verb, "put") == 0 ? inner_fd(object, second)
                                        : 0;
      if (fd < 0) return 12;
      if (fd > 0) {
        snprintf(fd_hex, sizeof fd_hex, "%08x", __builtin_bswap32((unsigned)fd));
        second = fd_hex;
      }
      printf("{\"error\":%d}\n", update(map, first, second) == 0 ? 0 : errno);
    }
  }
  bpf_object__close(object);
  free(line);
  return 0;
}

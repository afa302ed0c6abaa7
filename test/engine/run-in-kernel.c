// Runs programs in the kernel, for comparison. A line in, a line out.
//
// In:  TYPE MAPS BYTECODE PACKET   TYPE is xdp or socket; MAPS is - or TYPE:KEY:VALUE:ENTRIES,...
//                                  which `lddw` names by index; the rest is hex.
// Out: the return value and the packet afterwards from its metadata on, in hex; or - and why it was
//      not run. With the argument `maps` behind that the maps' entries, KEY=VALUE in hex, per-CPU
//      values all after one another; `,` behind each entry and `/` behind each map.
//
// A device map holds the loopback device (ifindex 1) under key 1.
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char log_text[1 << 20];

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static size_t parse_hex(const char *text, unsigned char *bytes, size_t room) {
  size_t length = strlen(text) / 2;
  if (length > room) exit(3);
  for (size_t i = 0; i < length; i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) exit(4);
    bytes[i] = (unsigned char)value;
  }
  return length;
}

static int create_map(unsigned type, unsigned key, unsigned value, unsigned entries) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.map_type = type;
  attr.key_size = key;
  attr.value_size = value;
  attr.max_entries = entries;
  int fd = bpf(BPF_MAP_CREATE, &attr);
  if (fd < 0) exit(5);
  if (type == BPF_MAP_TYPE_DEVMAP || type == BPF_MAP_TYPE_DEVMAP_HASH) {
    unsigned index = 1, device[2] = {1, 0};
    memset(&attr, 0, sizeof attr);
    attr.map_fd = (unsigned)fd;
    attr.key = (unsigned long)&index;
    attr.value = (unsigned long)device;
    if (bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0) exit(6);
  }
  return fd;
}

static int create_maps(char *text, int *fds) {
  int count = 0;
  if (strcmp(text, "-") == 0) return 0;
  for (char *one = strtok(text, ","); one != NULL; one = strtok(NULL, ",")) {
    unsigned type, key, value, entries;
    if (sscanf(one, "%u:%u:%u:%u", &type, &key, &value, &entries) != 4) exit(7);
    fds[count++] = create_map(type, key, value, entries);
  }
  return count;
}

static int load(const char *type, struct bpf_insn *program, size_t count, const int *maps) {
  for (size_t i = 0; i < count; i++)
    if (program[i].code == (BPF_LD | BPF_DW | BPF_IMM)) {
      if (program[i].src_reg == BPF_PSEUDO_MAP_FD) program[i].imm = maps[program[i].imm];
      i++;
    }
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = strcmp(type, "xdp") == 0 ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SOCKET_FILTER;
  attr.insns = (unsigned long)program;
  attr.insn_cnt = (unsigned)count;
  attr.license = (unsigned long)"GPL";
  attr.log_buf = (unsigned long)log_text;
  attr.log_size = sizeof log_text;
  attr.log_level = 1;
  log_text[0] = 0;
  return bpf(BPF_PROG_LOAD, &attr);
}

static void run(int program, unsigned char *packet, size_t length) {
  static unsigned char out[1 << 16];
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.test.prog_fd = (unsigned)program;
  attr.test.data_in = (unsigned long)packet;
  attr.test.data_size_in = (unsigned)length;
  attr.test.data_out = (unsigned long)out;
  attr.test.data_size_out = sizeof out;
  if (bpf(BPF_PROG_TEST_RUN, &attr) < 0) {
    printf("- %s", strerror(errno));
    return;
  }
  printf("%x ", attr.test.retval);
  for (unsigned i = 0; i < attr.test.data_size_out; i++) printf("%02x", out[i]);
}

static long cpus;

static void dump(int map, unsigned type, unsigned key_size, unsigned value_size) {
  static unsigned char key[512], next[512], value[1 << 16];
  int per_cpu = type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
  size_t bytes = per_cpu ? (value_size + 7) / 8 * 8 * (size_t)cpus : value_size;
  if (bytes > sizeof value) exit(8);
  union bpf_attr attr;
  for (void *last = NULL;; last = key) {
    memset(&attr, 0, sizeof attr);
    attr.map_fd = (unsigned)map;
    attr.key = (unsigned long)last;
    attr.next_key = (unsigned long)next;
    if (bpf(BPF_MAP_GET_NEXT_KEY, &attr) < 0) break;
    memcpy(key, next, key_size);
    memset(&attr, 0, sizeof attr);
    attr.map_fd = (unsigned)map;
    attr.key = (unsigned long)key;
    attr.value = (unsigned long)value;
    if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) < 0) exit(9);
    for (unsigned i = 0; i < key_size; i++) printf("%02x", key[i]);
    putchar('=');
    for (size_t i = 0; i < bytes; i++) printf("%02x", value[i]);
    putchar(',');
  }
  putchar('/');
}

static void dump_maps(char *text, const int *maps) {
  unsigned type, key, value, entries;
  for (char *one = strtok(text, ","); one != NULL; one = strtok(NULL, ",")) {
    if (sscanf(one, "%u:%u:%u:%u", &type, &key, &value, &entries) != 4) exit(7);
    dump(*maps++, type, key, value);
  }
}

int main(int argc, char **argv) {
  int with_maps = argc > 1 && strcmp(argv[1], "maps") == 0;
  cpus = sysconf(_SC_NPROCESSORS_CONF);
  static unsigned char bytecode[1 << 20], packet[1 << 16];
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    char *rest = line;
    char *type = strsep(&rest, " "), *map_text = strsep(&rest, " ");
    char *program_text = strsep(&rest, " "), *packet_text = strsep(&rest, "\n");
    int maps[16];
    char *map_specs = strdup(map_text);
    int map_count = create_maps(map_text, maps);
    size_t bytes = parse_hex(program_text, bytecode, sizeof bytecode);
    size_t length = parse_hex(packet_text, packet, sizeof packet);
    int program = load(type, (struct bpf_insn *)bytecode, bytes / 8, maps);
    if (program < 0) {
      for (char *c = log_text; *c; c++)
        if (*c == '\n') *c = '|';
      printf("- %s: %s\n", strerror(errno), log_text);
    } else {
      run(program, packet, length);
      if (with_maps) {
        putchar(' ');
        dump_maps(map_specs, maps);
      }
      putchar('\n');
      close(program);
    }
    for (int i = 0; i < map_count; i++) close(maps[i]);
    free(map_specs);
  }
  free(line);
  return 0;
}

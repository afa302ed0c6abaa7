// Runs programs in the kernel, for comparison. A line in, a line out.
//
// In:  TYPE MAPS BYTECODE PACKET   TYPE is xdp or socket; MAPS is - or TYPE:KEY:VALUE:ENTRIES,...
//                                  which `lddw` names by index; the rest is hex.
// Out: the return value and the packet afterwards from its metadata on, in hex; or - and why it was
//      not run.
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
    printf("- %s\n", strerror(errno));
    return;
  }
  printf("%x ", attr.test.retval);
  for (unsigned i = 0; i < attr.test.data_size_out; i++) printf("%02x", out[i]);
  putchar('\n');
}

int main(void) {
  static unsigned char bytecode[1 << 20], packet[1 << 16];
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    char *rest = line;
    char *type = strsep(&rest, " "), *map_text = strsep(&rest, " ");
    char *program_text = strsep(&rest, " "), *packet_text = strsep(&rest, "\n");
    int maps[16];
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
      close(program);
    }
    for (int i = 0; i < map_count; i++) close(maps[i]);
  }
  free(line);
  return 0;
}

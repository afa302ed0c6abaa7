// Asks the kernel's verifier about programs, for comparison. A line in, a line out.
//
// In:  TYPE MAPS TYPES BYTECODE    TYPE is xdp, socket, tc or cgroup_skb; MAPS is - or
//                                  TYPE:KEY:VALUE:ENTRIES:FLAGS[:HEX],... which `lddw` names by
//                                  index, HEX the contents of a frozen array; TYPES is - or
//                                  BTF,SLOT:TYPE,... the functions in order; the rest is hex.
// Out: ok and how many instructions were visited, or - and the error and the end of the log. Started
//      with --time, ok has a third word: nanoseconds that a load without a log takes. Started with
//      --limit=MILLISECONDS, a program that takes the kernel longer than that gets ?.
#include <errno.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* kernel: include/linux/bpf_verifier.h. A whole log of a long program is longer than any buffer. */
#define BPF_LOG_STATS 4
#define MAX_FUNCTIONS 256
/* As much of a log as answers tell. */
#define LOG_TAIL 4000

static char log_text[1 << 24];
static unsigned char bytecode[1 << 20];

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  exit(4);
}

static size_t parse_hex(const char *text, unsigned char *bytes, size_t room) {
  size_t length = strlen(text) / 2;
  if (length > room) exit(3);
  for (size_t i = 0; i < length; i++)
    bytes[i] = (unsigned char)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  return length;
}

static void freeze(int fd, const char *hex) {
  static unsigned char value[1 << 16];
  unsigned key = 0;
  union bpf_attr attr;
  parse_hex(hex, value, sizeof value);
  memset(&attr, 0, sizeof attr);
  attr.map_fd = (unsigned)fd;
  attr.key = (unsigned long)&key;
  attr.value = (unsigned long)value;
  if (bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0) exit(6);
  memset(&attr, 0, sizeof attr);
  attr.map_fd = (unsigned)fd;
  if (bpf(BPF_MAP_FREEZE, &attr) < 0) exit(8);
}

static int create_map(const char *one) {
  unsigned type, key, value, entries, flags;
  int used = 0;
  if (sscanf(one, "%u:%u:%u:%u:%u%n", &type, &key, &value, &entries, &flags, &used) != 5) exit(7);
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.map_type = type;
  attr.key_size = key;
  attr.value_size = value;
  attr.max_entries = entries;
  attr.map_flags = flags;
  int fd = bpf(BPF_MAP_CREATE, &attr);
  if (fd < 0) exit(5);
  if (one[used] == ':') freeze(fd, one + used + 1);
  return fd;
}

static int create_maps(char *text, int *fds) {
  int count = 0;
  if (strcmp(text, "-") == 0) return 0;
  for (char *one = strtok(text, ","); one != NULL; one = strtok(NULL, ","))
    fds[count++] = create_map(one);
  return count;
}

static unsigned type_of(const char *name) {
  if (strcmp(name, "xdp") == 0) return BPF_PROG_TYPE_XDP;
  if (strcmp(name, "tc") == 0) return BPF_PROG_TYPE_SCHED_CLS;
  if (strcmp(name, "cgroup_skb") == 0) return BPF_PROG_TYPE_CGROUP_SKB;
  return BPF_PROG_TYPE_SOCKET_FILTER;
}

static void bind_maps(struct bpf_insn *program, size_t count, const int *maps) {
  for (size_t i = 0; i < count; i++)
    if (program[i].code == (BPF_LD | BPF_DW | BPF_IMM)) {
      if (program[i].src_reg == BPF_PSEUDO_MAP_FD || program[i].src_reg == BPF_PSEUDO_MAP_VALUE)
        program[i].imm = maps[program[i].imm & 15];
      i++;
    }
}

/* A program, and what its functions are. */
struct program {
  unsigned type;
  const struct bpf_insn *instructions;
  size_t count;
  int btf;
  struct bpf_func_info functions[MAX_FUNCTIONS];
  unsigned function_count;
};

static void load_types(char *text, struct program *program) {
  static unsigned char bytes[1 << 20];
  program->btf = -1;
  program->function_count = 0;
  if (strcmp(text, "-") == 0) return;
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.btf_size = (unsigned)parse_hex(strtok(text, ","), bytes, sizeof bytes);
  attr.btf = (unsigned long)bytes;
  attr.btf_log_buf = (unsigned long)log_text;
  attr.btf_log_size = sizeof log_text;
  attr.btf_log_level = 1;
  program->btf = bpf(BPF_BTF_LOAD, &attr);
  if (program->btf < 0) {
    fprintf(stderr, "%s", log_text);
    exit(10);
  }
  for (char *one = strtok(NULL, ","); one != NULL; one = strtok(NULL, ",")) {
    struct bpf_func_info *info = &program->functions[program->function_count++];
    if (program->function_count > MAX_FUNCTIONS) exit(11);
    if (sscanf(one, "%u:%u", &info->insn_off, &info->type_id) != 2) exit(12);
  }
}

static int load(const struct program *program, unsigned log_level) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = program->type;
  attr.insns = (unsigned long)program->instructions;
  attr.insn_cnt = (unsigned)program->count;
  if (program->btf >= 0) {
    attr.prog_btf_fd = (unsigned)program->btf;
    attr.func_info = (unsigned long)program->functions;
    attr.func_info_rec_size = sizeof program->functions[0];
    attr.func_info_cnt = program->function_count;
  }
  attr.license = (unsigned long)"GPL";
  if (log_level != 0) {
    attr.log_buf = (unsigned long)log_text;
    attr.log_size = sizeof log_text;
    attr.log_level = log_level;
    log_text[0] = 0;
  }
  return bpf(BPF_PROG_LOAD, &attr);
}

/* Of the fastest of three loads, nanoseconds. */
static unsigned long time_load(const struct program *program) {
  unsigned long least = -1UL;
  for (int i = 0; i < 3; i++) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    int fd = load(program, 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (fd < 0) exit(9);
    close(fd);
    unsigned long took = (unsigned long)(to.tv_sec - from.tv_sec) * 1000000000UL +
                         (unsigned long)to.tv_nsec - (unsigned long)from.tv_nsec;
    if (took < least) least = took;
  }
  return least;
}

static void interrupt(int signal) { (void)signal; }

/* 0: no more. A signal that waits ends the kernel's verifier with EAGAIN. */
static void limit(unsigned milliseconds) {
  struct itimerval timer;
  memset(&timer, 0, sizeof timer);
  timer.it_value.tv_sec = milliseconds / 1000;
  timer.it_value.tv_usec = milliseconds % 1000 * 1000;
  setitimer(ITIMER_REAL, &timer, NULL);
}

int main(int argc, char **argv) {
  static struct program asked;
  int timed = argc > 1 && strcmp(argv[1], "--time") == 0;
  unsigned most = argc > 1 && strncmp(argv[1], "--limit=", 8) == 0 ? (unsigned)atoi(argv[1] + 8) : 0;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = interrupt;
  sigaction(SIGALRM, &action, NULL);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    char *rest = line;
    char *type = strsep(&rest, " "), *map_text = strsep(&rest, " ");
    char *types_text = strsep(&rest, " "), *program_text = strsep(&rest, "\n");
    int maps[16];
    memset(maps, -1, sizeof maps);
    int map_count = create_maps(map_text, maps);
    load_types(types_text, &asked);
    size_t bytes = parse_hex(program_text, bytecode, sizeof bytecode);
    struct bpf_insn *instructions = (struct bpf_insn *)bytecode;
    bind_maps(instructions, bytes / 8, maps);
    asked.type = type_of(type);
    asked.instructions = instructions;
    asked.count = bytes / 8;
    limit(most);
    int program = load(&asked, BPF_LOG_STATS);
    int stopped = program < 0 && errno == EAGAIN;
    limit(0);
    /* What is too large says so without a trace, which would take seconds. */
    if (program < 0 && errno != E2BIG && !stopped) program = load(&asked, 1);
    if (stopped) {
      printf("?\n");
    } else if (program < 0) {
      int error = errno;
      for (char *c = log_text; *c; c++)
        if (*c == '\n') *c = '|';
      size_t length = strlen(log_text);
      printf("- %s: %s\n", strerror(error), log_text + (length > LOG_TAIL ? length - LOG_TAIL : 0));
    } else {
      const char *count = strstr(log_text, "processed ");
      printf("ok %u", count != NULL ? (unsigned)strtoul(count + 10, NULL, 10) : 0);
      close(program);
      if (timed) printf(" %lu", time_load(&asked));
      printf("\n");
    }
    for (int i = 0; i < map_count; i++) close(maps[i]);
    if (asked.btf >= 0) close(asked.btf);
  }
  free(line);
  return 0;
}

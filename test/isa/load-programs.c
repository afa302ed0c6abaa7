// Loads programs into the kernel as socket filters: a line of hex bytecode in, a line out with the
// error (or "ok") and the verifier's log, whose own line ends are written as 0x1f.
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char log_text[1 << 20];
static unsigned char bytecode[1 << 16];

int main(void) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, stdin)) > 0) {
    size_t bytes = (size_t)length / 2;
    if (bytes > sizeof bytecode) return 1;
    for (size_t i = 0; i < bytes; i++) {
      unsigned value;
      if (sscanf(line + 2 * i, "%2x", &value) != 1) return 1;
      bytecode[i] = (unsigned char)value;
    }
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (unsigned long)bytecode;
    attr.insn_cnt = bytes / 8;
    attr.license = (unsigned long)"GPL";
    attr.log_buf = (unsigned long)log_text;
    attr.log_size = sizeof log_text;
    attr.log_level = 2;
    log_text[0] = 0;
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    fputs(fd >= 0 ? "ok" : strerror(errno), stdout);
    putchar('\t');
    for (const char *c = log_text; *c; c++) putchar(*c == '\n' ? 0x1f : *c);
    putchar('\n');
    if (fd >= 0) close(fd);
  }
  free(line);
  return 0;
}

// Runs programs of an object in the kernel, for comparison. A line in, a line out.
//
// Usage: run-object OBJECT
// In:  PROGRAM IO PACKET     IO: the bytes of the global variable `io`, before; hex as the packet
// Out: RETVAL PACKET IO      as they are afterwards; or - and why the run was refused
//
// Packets come from the loopback device (ifindex 1).
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void print_hex(const unsigned char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
}

int main(int argc, char **argv) {
  static unsigned char io[4096], packet[1 << 16], out[1 << 17];
  if (argc != 2) return 2;
  struct bpf_object *object = bpf_object__open(argv[1]);
  if (object == NULL || bpf_object__load(object) != 0) return 5;
  struct bpf_map *map, *globals = NULL;
  bpf_object__for_each_map(map, object) {
    const char *suffix = strrchr(bpf_map__name(map), '.');
    if (suffix != NULL && strcmp(suffix, ".bss") == 0) globals = map;
  }
  if (globals == NULL || bpf_map__value_size(globals) > sizeof io) return 6;
  size_t io_size = bpf_map__value_size(globals);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    char *rest = line;
    char *name = strsep(&rest, " "), *io_text = strsep(&rest, " ");
    char *packet_text = strsep(&rest, "\n");
    struct bpf_program *program = bpf_object__find_program_by_name(object, name);
    if (program == NULL) return 7;
    memset(io, 0, sizeof io);
    parse_hex(io_text, io, io_size);
    unsigned zero = 0;
    if (bpf_map_update_elem(bpf_map__fd(globals), &zero, io, BPF_ANY) != 0) return 8;
    struct __sk_buff context = {.ingress_ifindex = 1, .ifindex = 1};
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_out = out,
                .data_size_out = sizeof out, .repeat = 1);
    run.data_size_in = parse_hex(packet_text, packet, sizeof packet);
    if (bpf_program__type(program) != BPF_PROG_TYPE_XDP) {
      run.ctx_in = &context;
      run.ctx_size_in = sizeof context;
    }
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &run) != 0) {
      printf("- %s\n", strerror(errno));
      continue;
    }
    if (bpf_map_lookup_elem(bpf_map__fd(globals), &zero, io) != 0) return 9;
    printf("%x ", run.retval);
    print_hex(out, run.data_size_out);
    putchar(' ');
    print_hex(io, io_size);
    putchar('\n');
  }
  bpf_object__close(object);
  free(line);
  return 0;
}

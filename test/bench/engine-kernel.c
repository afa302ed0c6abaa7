// Runs the programs of an object in the kernel: engine-kernel OBJECT, the packet in hex on stdin. One line a program: its name, what it returned, nanoseconds a run as the kernel measured
// them. The map `flows` is filled from the lines of hex keys behind the packet.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t read_hex(unsigned char *bytes, size_t room) {
  static char line[1 << 16];
  if (fgets(line, sizeof line, stdin) == NULL) return 0;
  size_t length = strcspn(line, "\n") / 2;
  if (length > room) exit(3);
  for (size_t i = 0; i < length; i++) {
    unsigned value;
    if (sscanf(line + 2 * i, "%2x", &value) != 1) exit(4);
    bytes[i] = (unsigned char)value;
  }
  return length;
}

static const long long run_ns = 20000000;

int main(int argc, char **argv) {
  static unsigned char packet[1 << 15], key[64], out[1 << 16];
  if (argc != 2) return 2;
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL || bpf_object__load(object) != 0) return 5;
  size_t length = read_hex(packet, sizeof packet);
  int flows = bpf_object__find_map_fd_by_name(object, "flows");
  unsigned long long zero = 0;
  while (read_hex(key, sizeof key) > 0)
    if (bpf_map_update_elem(flows, key, &zero, 0) != 0) return 6;
  struct bpf_program *program;
  bpf_object__for_each_program(program, object) {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (unsigned)length,
                .data_out = out, .data_size_out = sizeof out, .repeat = 1000);
    // A first guess, then runs that take about run_ns.
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) return 7;
    options.repeat = (int)(run_ns / (options.duration + 1));
    options.data_size_out = sizeof out;
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) return 7;
    printf("%s %u %u\n", bpf_program__name(program), options.retval, options.duration);
  }
  return 0;
}

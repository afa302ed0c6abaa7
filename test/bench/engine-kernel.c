// Runs the programs of an object in the kernel: engine-kernel OBJECT, the packet in hex on stdin. One
// line a program: its name, what it returned, nanoseconds a run. The kernel itself tells whole ones, so
// these are of this thread's CPU time: what many runs take more than few do, which leaves out the call
// and its waiting for other CPUs. The map `flows` is filled from the lines of hex keys behind the packet.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
static const int few = 1000;

static double cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

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
                .data_out = out, .data_size_out = sizeof out, .repeat = few);
    int descriptor = bpf_program__fd(program);
    double from = cpu_ns();
    if (bpf_prog_test_run_opts(descriptor, &options) != 0) return 7;
    double few_ns = cpu_ns() - from;
    int more = (int)(run_ns / (options.duration + 1));
    options.repeat = few + more;
    options.data_size_out = sizeof out;
    from = cpu_ns();
    if (bpf_prog_test_run_opts(descriptor, &options) != 0) return 7;
    double all_ns = cpu_ns() - from;
    printf("%s %u %.3f\n", bpf_program__name(program), options.retval, (all_ns - few_ns) / more);
  }
  return 0;
}

// Runs every program of an object in the kernel, by libbpf: the judge for what helpers return.
//
//   map-helpers-kernel OBJECT PROGRAM [RUNS]
//
// Without RUNS it only loads the program, which the verifier may refuse. After each run a line: the return value, then the values of map `results` in hex; at the end a
// line "event CPU HEX" for each event that map `events` got and "record HEX" for each of `ring`.
// Everything happens on CPU 0. Entry 0 of map `workers` is filled.
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void print_hex(const char *before, const void *data, size_t size)
{
	printf("%s", before);
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)data)[i]);
	printf("\n");
}

static void on_event(void *context, int cpu, void *data, __u32 size)
{
	char before[32];
	(void)context;
	snprintf(before, sizeof before, "event %d ", cpu);
	print_hex(before, data, size);
}

static int on_record(void *context, void *data, size_t size)
{
	(void)context;
	print_hex("record ", data, size);
	return 0;
}

static int map_of(struct bpf_object *object, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);
	if (fd < 0)
		fail(name);
	return fd;
}

static void print_results(int results, __u32 returned)
{
	printf("%u", returned);
	for (__u32 key = 0; key < 64; key++) {
		__u64 value;
		if (bpf_map_lookup_elem(results, &key, &value))
			fail("results");
		printf(" %llx", value);
	}
	printf("\n");
}

int main(int count, char **arguments)
{
	cpu_set_t cpus;
	char packet[64] = { 0 };
	if (count != 3 && count != 4)
		return 2;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus))
		fail("sched_setaffinity");
	for (size_t i = 0; i < sizeof packet; i++)
		packet[i] = i;
	struct bpf_object *object = bpf_object__open(arguments[1]);
	struct bpf_program *one, *program = NULL;
	if (!object)
		fail(arguments[1]);
	bpf_object__for_each_program(one, object) {
		int chosen = !strcmp(bpf_program__name(one), arguments[2]);
		bpf_program__set_autoload(one, chosen);
		if (chosen)
			program = one;
	}
	if (!program || bpf_object__load(object))
		fail(arguments[2]);
	if (count == 3)
		return 0;
	__u32 key = 0, queued = 192;
	if (bpf_map_update_elem(map_of(object, "workers"), &key, &queued, 0))
		fail("workers");
	struct perf_buffer *events =
		perf_buffer__new(map_of(object, "events"), 64, on_event, NULL, NULL, NULL);
	struct ring_buffer *ring = ring_buffer__new(map_of(object, "ring"), on_record, NULL, NULL);
	if (!events || !ring)
		fail("events");
	for (int i = 0; i < atoi(arguments[3]); i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet,
			    .data_size_in = sizeof packet, .repeat = 1);
		if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
			fail("run");
		print_results(map_of(object, "results"), options.retval);
	}
	perf_buffer__consume(events);
	ring_buffer__consume(ring);
	return 0;
}

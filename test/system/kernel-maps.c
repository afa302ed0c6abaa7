// Runs map operations on the kernel's maps, by bpf(2) alone: the judge for ours.
//
//   kernel-maps < operations
//
// First prints the number of possible CPUs. Then one operation a line, one answer a line:
//
//   create TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES FLAGS EXTRA   result; the current map from here on
//   update KEY VALUE FLAGS                              result; - for the key of a map without keys
//   lookup KEY                                          result value
//   pop                                                 result value
//   holds VALUE                                         result
//   delete KEY                                          result
//   next KEY|-                                          result key
//   dump                                                "key value" of each entry, then "end"
//
// Results are 0 or -errno, keys and values hex; per-CPU values one after the other, each rounded up
// to 8 bytes. A program array takes any value as the one program there is, and shows it as 1.

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KEY_BYTES = 1 << 16, VALUE_BYTES = 1 << 20, LINE_BYTES = 2 * (KEY_BYTES + VALUE_BYTES) };

static int map = -1;
static __u32 map_type, key_size, value_size;
static int program = -1, cpus;
static unsigned char key[KEY_BYTES], next_key[KEY_BYTES], value[VALUE_BYTES];
static char line[LINE_BYTES];

static int call(enum bpf_cmd command, union bpf_attr *attr)
{
	int result = syscall(SYS_bpf, command, attr, sizeof *attr);
	return result < 0 ? -errno : result;
}

static int possible_cpus(void)
{
	int first, last = 0, n;
	FILE *file = fopen("/sys/devices/system/cpu/possible", "r");
	if (!file)
		return 1;
	n = fscanf(file, "%d-%d", &first, &last);
	fclose(file);
	return n == 2 ? last + 1 : 1;
}

static int load_program(void)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (unsigned long)code,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};
	return call(BPF_PROG_LOAD, &attr);
}

static int is_per_cpu(void)
{
	return map_type == BPF_MAP_TYPE_PERCPU_HASH || map_type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       map_type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static __u32 value_bytes(void)
{
	return is_per_cpu() ? (value_size + 7) / 8 * 8 * cpus : value_size;
}

static void parse(const char *text, unsigned char *bytes)
{
	unsigned byte;
	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		*bytes++ = byte;
}

static void print_hex(const unsigned char *bytes, __u32 size)
{
	for (__u32 i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

static int create(__u32 type, __u32 keys, __u32 values, __u32 entries, __u32 flags, __u64 extra)
{
	union bpf_attr attr = {
		.map_type = type,
		.key_size = keys,
		.value_size = values,
		.max_entries = entries,
		.map_flags = flags,
		.map_extra = extra,
	};
	if (map >= 0)
		close(map);
	map = call(BPF_MAP_CREATE, &attr);
	map_type = type;
	key_size = keys;
	value_size = values;
	return map < 0 ? map : 0;
}

static int element(enum bpf_cmd command, void *out, __u64 flags)
{
	union bpf_attr attr = {
		.map_fd = map,
		.key = key_size ? (unsigned long)key : 0,
		.value = (unsigned long)out,
		.flags = flags,
	};
	return call(command, &attr);
}

static int lookup(void)
{
	int result = element(BPF_MAP_LOOKUP_ELEM, value, 0);
	if (result == 0 && map_type == BPF_MAP_TYPE_PROG_ARRAY)
		memcpy(value, &(__u32){ 1 }, 4);
	return result;
}

static int next(int has_key)
{
	union bpf_attr attr = {
		.map_fd = map,
		.key = has_key ? (unsigned long)key : 0,
		.next_key = (unsigned long)next_key,
	};
	return call(BPF_MAP_GET_NEXT_KEY, &attr);
}

static void dump(void)
{
	for (int has_key = 0; next(has_key) == 0; has_key = 1) {
		memcpy(key, next_key, key_size);
		if (lookup() != 0)
			continue;
		print_hex(key, key_size);
		printf(" ");
		print_hex(value, value_bytes());
		printf("\n");
	}
	printf("end\n");
}

static char *word(void)
{
	char *text = strtok(NULL, " \n");
	return text ? text : "";
}

static __u32 number(void)
{
	return strtoul(word(), NULL, 0);
}

static void run(const char *operation)
{
	int result;
	if (!strcmp(operation, "create")) {
		__u32 type = number(), keys = number(), values = number(), entries = number();
		__u32 flags = number();
		printf("%d\n", create(type, keys, values, entries, flags, number()));
	} else if (!strcmp(operation, "update")) {
		parse(word(), key);
		parse(word(), value);
		if (map_type == BPF_MAP_TYPE_PROG_ARRAY)
			memcpy(value, &program, 4);
		printf("%d\n", element(BPF_MAP_UPDATE_ELEM, value, number()));
	} else if (!strcmp(operation, "lookup")) {
		parse(word(), key);
		result = lookup();
		printf("%d ", result);
		print_hex(value, result == 0 ? value_bytes() : 0);
		printf("\n");
	} else if (!strcmp(operation, "pop")) {
		result = element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, value, 0);
		printf("%d ", result);
		print_hex(value, result == 0 ? value_bytes() : 0);
		printf("\n");
	} else if (!strcmp(operation, "holds")) {
		parse(word(), value);
		printf("%d\n", element(BPF_MAP_LOOKUP_ELEM, value, 0));
	} else if (!strcmp(operation, "delete")) {
		parse(word(), key);
		printf("%d\n", element(BPF_MAP_DELETE_ELEM, NULL, 0));
	} else if (!strcmp(operation, "next")) {
		char *text = word();
		parse(text, key);
		result = next(text[0] != '-');
		printf("%d ", result);
		print_hex(next_key, result == 0 ? key_size : 0);
		printf("\n");
	} else if (!strcmp(operation, "dump")) {
		dump();
	}
}

int main(void)
{
	cpus = possible_cpus();
	program = load_program();
	if (program < 0) {
		fprintf(stderr, "kernel-maps: cannot load a program: %s\n", strerror(-program));
		return 1;
	}
	printf("%d\n", cpus);
	while (fgets(line, sizeof line, stdin)) {
		char *operation = strtok(line, " \n");
		if (operation)
			run(operation);
	}
	return 0;
}

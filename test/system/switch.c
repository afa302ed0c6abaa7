// The kernel as a switch: programs/broadcast.c on the veth devices p1 to p4, whose other ends are q1 to q4.
//
// Usage: switch OBJECT, in a network namespace with these devices
// In, a line each:                 Out, a line of JSON each:
//   port MAP KEY NUMBER              {"error":0} or errno: p NUMBER is under KEY
//   send NUMBER MODE                 [n,n,n,n]: frames that q1 to q4 got of one sent from q NUMBER
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ports = 4, frame_bytes = 60, test_type = 0x88b5, first_marker = 16 };

static int sockets[ports + 1];

static unsigned device(char side, int number) {
  char name[8];
  snprintf(name, sizeof name, "%c%d", side, number);
  unsigned index = if_nametoindex(name);
  if (index == 0) exit(3);
  return index;
}

static int open_socket(unsigned index) {
  struct sockaddr_ll at = {
      .sll_family = AF_PACKET, .sll_protocol = htons(test_type), .sll_ifindex = (int)index};
  int fd = socket(AF_PACKET, SOCK_RAW, htons(test_type));
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0) exit(4);
  return fd;
}

static void send_frame(int from, int mode) {
  unsigned char frame[frame_bytes] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1};
  frame[12] = test_type >> 8;
  frame[13] = test_type & 0xff;
  frame[14] = (unsigned char)mode;
  if (send(sockets[from], frame, sizeof frame, 0) != frame_bytes) exit(5);
}

// Frames on q NUMBER until the marker for it, which was sent last and goes the same way.
static int frames_at(int number) {
  int count = 0;
  for (;;) {
    struct pollfd wait = {.fd = sockets[number], .events = POLLIN};
    if (poll(&wait, 1, 10000) != 1) exit(6);
    unsigned char frame[frame_bytes];
    struct sockaddr_ll from;
    socklen_t length = sizeof from;
    if (recvfrom(sockets[number], frame, sizeof frame, 0, (struct sockaddr *)&from, &length) < 15)
      exit(7);
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    if (frame[14] >= first_marker) return count;
    count++;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL || bpf_object__load(object) != 0) return 8;
  int forward = bpf_program__fd(bpf_object__find_program_by_name(object, "forward"));
  int take = bpf_program__fd(bpf_object__find_program_by_name(object, "take"));
  for (int i = 1; i <= ports; i++) {
    // An end that takes redirected frames has a program too: veth asks for that.
    if (bpf_xdp_attach((int)device('p', i), forward, XDP_FLAGS_DRV_MODE, NULL) != 0) return 9;
    if (bpf_xdp_attach((int)device('q', i), take, XDP_FLAGS_DRV_MODE, NULL) != 0) return 10;
    sockets[i] = open_socket(device('q', i));
  }
  char line[256], map[32];
  unsigned key, number;
  int mode;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "port %31s %u %u", map, &key, &number) == 3) {
      unsigned index = device('p', (int)number);
      int fd = bpf_object__find_map_fd_by_name(object, map);
      printf("{\"error\":%d}\n", -bpf_map_update_elem(fd, &key, &index, BPF_ANY));
    } else if (sscanf(line, "send %u %d", &number, &mode) == 2 && number - 1 < ports) {
      send_frame((int)number, mode);
      for (int i = 1; i <= ports; i++) send_frame((int)number, first_marker + i);
      const char *separator = "[";
      for (int i = 1; i <= ports; i++, separator = ",") printf("%s%d", separator, frames_at(i));
      printf("]\n");
    } else
      return 11;
  }
  return 0;
}

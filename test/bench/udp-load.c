// SPDX-License-Identifier: Apache-2.0
/*
 * Load for the UDP benchmark, on loopback only.
 *
 *   udp-load echo PORT                          sends back whatever comes, until killed
 *   udp-load ask PORT BYTES COUNT FLOWS WINDOW  COUNT datagrams over FLOWS sockets, at most
 *                                               WINDOW unanswered; prints "answered lost"
 *   udp-load flood PORT BYTES COUNT             COUNT datagrams as fast as they go, answered or not;
 *                                               prints "answered sent"
 *   udp-load pace PORT BYTES RATE MS            RATE datagrams a second for MS milliseconds, at most
 *                                               as many as go; prints "sent"
 *   udp-load sink PORT                          has PORT and reads nothing, until killed
 *
 * `ask` is a closed loop: what is measured is the cost of a datagram, not how many get lost.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define MAX_BYTES 2048
#define MAX_FLOWS 64

static char buffers[BATCH][MAX_BYTES];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static struct mmsghdr messages[BATCH];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void die_of_error(int fd) {
  socklen_t bytes = sizeof errno;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &bytes);
  die("the proxy is gone");
}

static void prepare(int with_names, size_t bytes) {
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    vectors[i].iov_base = buffers[i];
    vectors[i].iov_len = bytes;
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = with_names ? &names[i] : NULL;
    messages[i].msg_hdr.msg_namelen = with_names ? sizeof names[i] : 0;
  }
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  const char *host = getenv("UDP_LOAD_ADDRESS");
  address.sin_addr.s_addr = host == NULL ? htonl(INADDR_LOOPBACK) : inet_addr(host);
  return address;
}

static void large_buffers(int fd) {
  int bytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int bound(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = loopback(port);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  return fd;
}

static void say_up(void) {
  puts("up");
  fflush(stdout);
}

static int echo(int port) {
  int fd = bound(port);
  large_buffers(fd);
  say_up();
  for (;;) {
    prepare(1, MAX_BYTES);
    int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (n < 0) die("recvmmsg");
    for (int i = 0; i < n; i++) vectors[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < n;) {
      int m = sendmmsg(fd, messages + sent, n - sent, 0);
      if (m < 0) die("sendmmsg");
      sent += m;
    }
  }
}

static int ask(int port, size_t bytes, long count, int flows, int window) {
  struct pollfd sockets[MAX_FLOWS];
  struct sockaddr_in address = loopback(port);
  for (int i = 0; i < flows; i++) {
    sockets[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockets[i].events = POLLIN;
    large_buffers(sockets[i].fd);
    if (connect(sockets[i].fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  }
  long sent = 0, answered = 0, lost = 0;
  int flow = 0;
  while (answered + lost < count) {
    long room = window - (sent - answered - lost);
    int want = room < count - sent ? (int)room : (int)(count - sent);
    while (want > 0) {
      int n = want < BATCH ? want : BATCH;
      prepare(0, bytes);
      int m = sendmmsg(sockets[flow].fd, messages, n, 0);
      flow = (flow + 1) % flows;
      if (m < 0) {
        if (errno == ECONNREFUSED) die("the proxy is gone");
        break;
      }
      sent += m;
      want -= m;
    }
    int ready = poll(sockets, flows, 200);
    if (ready == 0) lost = sent - answered;  // a window that never comes back is lost
    for (int i = 0; i < flows; i++) {
      // A port that nobody listens to. Left alone it would keep poll from ever waiting.
      if (sockets[i].revents & POLLERR) die_of_error(sockets[i].fd);
      if (!(sockets[i].revents & POLLIN)) continue;
      prepare(0, MAX_BYTES);
      int n = recvmmsg(sockets[i].fd, messages, BATCH, MSG_DONTWAIT, NULL);
      if (n > 0) answered += n;
    }
  }
  printf("%ld %ld\n", answered, lost);
  return 0;
}

static long drain(int fd) {
  long answered = 0;
  for (;;) {
    prepare(0, MAX_BYTES);
    int n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) return answered;
    answered += n;
  }
}

static int flood(int port, size_t bytes, long count) {
  struct pollfd socket_ready = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), .events = POLLIN};
  struct sockaddr_in address = loopback(port);
  large_buffers(socket_ready.fd);
  if (connect(socket_ready.fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  long sent = 0, answered = 0;
  while (sent < count) {
    prepare(0, bytes);
    int want = count - sent < BATCH ? (int)(count - sent) : BATCH;
    int n = sendmmsg(socket_ready.fd, messages, want, 0);
    if (n < 0 && errno == ECONNREFUSED) die("the proxy is gone");
    if (n > 0) sent += n;
    answered += drain(socket_ready.fd);
  }
  while (poll(&socket_ready, 1, 300) > 0) answered += drain(socket_ready.fd);
  printf("%ld %ld\n", answered, sent);
  return 0;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

/* Many at a time, which the kernel cuts: a sender that is faster than what it loads. */
static int pace(int port, size_t bytes, double rate, double forSeconds) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  int piece = bytes;
  struct sockaddr_in address = loopback(port);
  large_buffers(fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &piece, sizeof piece) < 0) die("UDP_SEGMENT");
  long sent = 0;
  double start = seconds();
  for (double spent = 0; spent < forSeconds; spent = seconds() - start) {
    long due = rate * spent;
    if (due <= sent) {
      usleep(100);
      continue;
    }
    long most = sizeof buffers / bytes < BATCH ? sizeof buffers / bytes : BATCH;
    long count = due - sent < most ? due - sent : most;
    if (send(fd, buffers, count * bytes, 0) < 0) {
      if (errno == ECONNREFUSED) die("the proxy is gone");
      if (errno != ENOBUFS) die("send");
    } else sent += count;
  }
  printf("%ld\n", sent);
  return 0;
}

static int sink(int port) {
  bound(port);
  say_up();
  return pause();
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "echo") == 0) return echo(atoi(argv[2]));
  if (argc == 7 && strcmp(argv[1], "ask") == 0) {
    size_t bytes = strtoul(argv[3], NULL, 10);
    int flows = atoi(argv[5]);
    if (bytes > MAX_BYTES || flows < 1 || flows > MAX_FLOWS) return 2;
    return ask(atoi(argv[2]), bytes, atol(argv[4]), flows, atoi(argv[6]));
  }
  if (argc == 5 && strcmp(argv[1], "flood") == 0 && strtoul(argv[3], NULL, 10) <= MAX_BYTES)
    return flood(atoi(argv[2]), strtoul(argv[3], NULL, 10), atol(argv[4]));
  if (argc == 6 && strcmp(argv[1], "pace") == 0) {
    size_t bytes = strtoul(argv[3], NULL, 10);
    if (bytes < 1 || bytes > MAX_BYTES) return 2;
    return pace(atoi(argv[2]), bytes, atof(argv[4]), atof(argv[5]) / 1000);
  }
  if (argc == 3 && strcmp(argv[1], "sink") == 0) return sink(atoi(argv[2]));
  fprintf(stderr, "usage: udp-load echo PORT | ask PORT BYTES COUNT FLOWS WINDOW |"
                  " flood PORT BYTES COUNT | pace PORT BYTES RATE MS | sink PORT\n");
  return 2;
}

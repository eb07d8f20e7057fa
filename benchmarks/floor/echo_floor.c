/* The floor: the echo of programs/echo.py in C, one process, one epoll, four system calls an echo.
 *
 * Client and server ends are sockets of this process, registered once, edge-triggered, never blocking.
 * Per echo: the client's send, the server's recv and send, the client's recv; and the epoll_wait
 * calls that tell about them, shared by as many connections as are ready. A short read is taken as
 * "drained", so no call is wasted on EAGAIN. It prints the same line of JSON as the programs do.
 *
 * Usage: echo_floor --connections N --messages N --size N --repeats N
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 4096, EVENTS = 1024, REPEATS = 1000 };

struct end {
    int descriptor;
    int client;     /* 0: a server's end */
    long left;      /* echoes still to do in this repeat */
    size_t received;
    char *message;
    char *answer;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void send_all(int descriptor, const char *data, size_t size)
{
    /* Messages of at most BUFFER bytes, one under way: the socket's buffer always has room. */
    if (send(descriptor, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("send");
}

static long option(int count, char **words, const char *name, long otherwise)
{
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(words[i], name) == 0)
            return atol(words[i + 1]);
    return otherwise;
}

static struct end *new_end(int poller, int descriptor, int client, size_t size, long number)
{
    struct end *end = calloc(1, sizeof *end);
    if (end == NULL)
        fail("calloc");
    int one = 1;
    if (setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        fail("setsockopt");
    end->descriptor = descriptor;
    end->client = client;
    end->answer = malloc(BUFFER);
    end->message = malloc(BUFFER + 16);
    if (end->answer == NULL || end->message == NULL)
        fail("malloc");
    char word[16];
    snprintf(word, sizeof word, "%08u", (unsigned)number % 100000000u);
    for (size_t at = 0; at < size; at += 8)
        memcpy(end->message + at, word, 8);
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) < 0)
        fail("epoll_ctl");
    return end;
}

/* One repeat: every client sends, and again when its echo is complete. Returns the echoes done. */
static long repeat(int poller, struct end **clients, long connections, long messages, size_t size)
{
    static struct epoll_event events[EVENTS];
    static char buffer[BUFFER];
    long busy = connections, right = 0;
    for (long i = 0; i < connections; i++) {
        clients[i]->left = messages;
        send_all(clients[i]->descriptor, clients[i]->message, size);
    }
    while (busy > 0) {
        int ready = epoll_wait(poller, events, EVENTS, 60000);
        if (ready <= 0)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct end *end = events[i].data.ptr;
            if (!(events[i].events & EPOLLIN))
                continue;
            if (!end->client) {
                ssize_t got = recv(end->descriptor, buffer, BUFFER, MSG_DONTWAIT);
                if (got > 0)
                    send_all(end->descriptor, buffer, (size_t)got);
                else if (got == 0 || errno != EAGAIN)
                    fail("recv");
                continue;
            }
            ssize_t got = recv(end->descriptor, end->answer + end->received,
                               BUFFER - end->received, MSG_DONTWAIT);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN)
                    continue;
                fail("recv");
            }
            end->received += (size_t)got;
            if (end->received < size)
                continue;
            right += memcmp(end->answer, end->message, size) == 0;
            end->received = 0;
            if (--end->left > 0)
                send_all(end->descriptor, end->message, size);
            else
                busy--;
        }
    }
    return right;
}

int main(int count, char **words)
{
    long connections = option(count, words, "--connections", 100);
    long messages = option(count, words, "--messages", 100);
    long repeats = option(count, words, "--repeats", 5);
    long size = option(count, words, "--size", 64);
    if (connections < 1 || messages < 1 || repeats < 1 || repeats > REPEATS || size < 1
        || size > BUFFER) {
        fprintf(stderr, "echo_floor: sizes are 1 to %d bytes, repeats 1 to %d\n", BUFFER, REPEATS);
        return 2;
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (poller < 0 || listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0
        || listen(listener, 1024) < 0
        || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        fail("listen");
    struct end **clients = calloc((size_t)connections, sizeof *clients);
    if (clients == NULL)
        fail("calloc");
    for (long i = 0; i < connections; i++) {
        int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (ours < 0 || connect(ours, (struct sockaddr *)&address, length) < 0)
            fail("connect");
        int theirs = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (theirs < 0)
            fail("accept");
        clients[i] = new_end(poller, ours, 1, (size_t)size, i);
        new_end(poller, theirs, 0, (size_t)size, i);
    }
    double values[REPEATS];
    long right = 0;
    repeat(poller, clients, connections, messages / 10 + 1, (size_t)size);
    for (long i = 0; i < repeats; i++) {
        double begin = now();
        right += repeat(poller, clients, connections, messages, (size_t)size);
        values[i] = (now() - begin) / (double)(connections * messages);
    }
    printf("{\"program\": \"echo_floor\", \"measures\": {\"echo\": {\"unit\": \"s\", "
           "\"operations\": %ld, \"values\": [", connections * messages);
    for (long i = 0; i < repeats; i++)
        printf("%s%.9g", i ? ", " : "", values[i]);
    printf("]}}, \"answer\": {\"echoed\": %ld}, \"evidence\": {\"kind\": \"C\"}}\n", right);
    return 0;
}

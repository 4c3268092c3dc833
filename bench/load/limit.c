/* The machine's limit: a bare epoll server that sends the same bytes to every stream, and nothing else.
 *
 * What a gateway is measured against, by the same load tool in the same minute. It accepts --streams streams, writes
 * "ready <streams>" to stderr, sends events (one for each line on stdin with --on-line, else --events of them every
 * --period-ms), and prints one JSON object at the end: when the last event is out and all readers are gone, at the end
 * of stdin, at SIGTERM or SIGINT, or after --seconds.
 */
#define _GNU_SOURCE
#include "tool.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MOST_STREAMS = 100000,
    MOST_EVENTS = 1000000,
    MOST_PAD = 65536,
    FRAME_SPARE = 256,
    TURN_EVENTS = 1024,
    TURN_MS = 50,
    BACKLOG = 4096,
};

static struct {
    int port;
    long streams, events, period_ms, pad;
    double seconds;
    bool on_line;
} asked = {.streams = 100, .events = 5, .period_ms = 1000, .pad = 40, .seconds = 300};

static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/event-stream; charset=utf-8\r\n"
                               "Cache-Control: no-store, no-transform\r\n"
                               "X-Accel-Buffering: no\r\n"
                               "X-Content-Type-Options: nosniff\r\n"
                               "Vary: Cookie, Origin\r\n"
                               "\r\n"
                               "retry: 2000\n\n";

static const char end_of_head[] = "\r\n\r\n";

struct connection {
    int fd;
    uint8_t matched; /* bytes of end_of_head seen: a request may come in pieces */
    bool open;
    long place; /* in `open` */
};

static struct {
    struct connection **open; /* those that get events */
    long count, most;
    long sent;
    uint64_t not_sent;
    double *broadcast_ms;
    int frame_bytes;
} run;

static int poller, listener;
static bool input_over;
static volatile sig_atomic_t told_to_stop;
static struct connection the_listener, the_input; /* only their addresses are used, to tell what epoll speaks of */

static void stop(int signal_number)
{
    (void)signal_number;
    told_to_stop = 1;
}

static void watch(int fd, struct connection *c)
{
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void accept_all(void)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = must_alloc(1, sizeof *c);
        c->fd = fd;
        watch(fd, c);
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        die("accept: %s", strerror(errno));
}

static void leave(struct connection *c)
{
    if (c->open) {
        run.open[c->place] = run.open[--run.count];
        run.open[c->place]->place = c->place;
    }
    close(c->fd);
    free(c);
}

static void answer(struct connection *c)
{
    if (send(c->fd, response, sizeof response - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof response - 1)) {
        leave(c);
        return;
    }
    if (run.count == asked.streams)
        die("more than %ld streams came", asked.streams);
    c->open = true;
    c->place = run.count;
    run.open[run.count++] = c;
    if (run.count > run.most && (run.most = run.count) == asked.streams) {
        fprintf(stderr, "ready %ld\n", run.count);
        fflush(stderr);
    }
}

static void take(struct connection *c)
{
    static char buffer[1 << 14];
    ssize_t length = read(c->fd, buffer, sizeof buffer);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        leave(c);
        return;
    }
    for (ssize_t i = 0; i < length && !c->open; i++) {
        if (buffer[i] == end_of_head[c->matched])
            c->matched++;
        else
            c->matched = buffer[i] == '\r';
        if (c->matched == sizeof end_of_head - 1) {
            answer(c);
            return;
        }
    }
}

/* The frame has the shape and length of a gateway's, so both sides move the same bytes. */
static void broadcast(void)
{
    static char frame[MOST_PAD + FRAME_SPARE], pad[MOST_PAD + 1];
    if (run.sent == MOST_EVENTS)
        return;
    memset(pad, 'x', (size_t)asked.pad);
    uint64_t began = now_ns();
    run.frame_bytes = snprintf(frame, sizeof frame,
                               "id: 1.limitlog.%ld.limitlog\nevent: message\ndata: {\"stamp\":\"t=%llu\",\"pad\":\"%s\"}\n\n",
                               run.sent + 1, (unsigned long long)began, pad);
    for (long i = 0; i < run.count; i++)
        if (send(run.open[i]->fd, frame, (size_t)run.frame_bytes, MSG_NOSIGNAL) != run.frame_bytes)
            run.not_sent++;
    run.broadcast_ms[run.sent++] = (double)(now_ns() - began) / NS_PER_MS;
}

static void take_lines(void)
{
    char buffer[4096];
    ssize_t length = read(STDIN_FILENO, buffer, sizeof buffer);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0)
        input_over = true;
    for (ssize_t i = 0; i < length; i++)
        if (buffer[i] == '\n')
            broadcast();
}

static void turn(int timeout_ms)
{
    struct epoll_event happened[TURN_EVENTS];
    int count = epoll_wait(poller, happened, TURN_EVENTS, timeout_ms);
    if (count < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct connection *c = happened[i].data.ptr;
        if (c == &the_listener)
            accept_all();
        else if (c == &the_input)
            take_lines();
        else
            take(c);
    }
}

static void serve(void)
{
    uint64_t deadline = now_ns() + (uint64_t)(asked.seconds * NS_PER_S), next = 0;
    while (!told_to_stop && !input_over && now_ns() < deadline) {
        bool ready = run.most == asked.streams;
        bool more = !asked.on_line && ready && run.sent < asked.events;
        if (ready && !asked.on_line && !more && !run.count)
            break;
        uint64_t now = now_ns();
        if (more && !next)
            next = now + (uint64_t)asked.period_ms * 1000000; /* readers settle first */
        if (more && now >= next) {
            broadcast();
            next += (uint64_t)asked.period_ms * 1000000;
            continue;
        }
        int wait_ms = TURN_MS;
        if (more && next - now < TURN_MS * 1000000ull)
            wait_ms = (int)((next - now) / 1000000);
        turn(wait_ms);
    }
}

static void print_result(void)
{
    printf("{\"streams\": %ld, \"frame_bytes\": %d, \"not_sent\": %llu, \"broadcast_ms\": [", run.most, run.frame_bytes,
           (unsigned long long)run.not_sent);
    for (long i = 0; i < run.sent; i++)
        printf("%s%.3f", i ? ", " : "", run.broadcast_ms[i]);
    printf("]}\n");
}

static const char usage[] = "limit --port P --streams N [options]\n"
                            "  --events K      send K events (5) ...\n"
                            "  --period-ms M   ... one every M milliseconds (1000)\n"
                            "  --on-line       send one event for each line on stdin instead; its end ends the server\n"
                            "  --pad BYTES     length of the payload's filler (40)\n"
                            "  --seconds S     end after this long in any case (300)\n";

static void read_command_line(int count, char **words)
{
    enum { PORT = 1, STREAMS, EVENTS, PERIOD, ON_LINE, PAD, SECONDS, HELP };
    static const struct option options[] = {
        {"port", required_argument, 0, PORT},
        {"streams", required_argument, 0, STREAMS},
        {"events", required_argument, 0, EVENTS},
        {"period-ms", required_argument, 0, PERIOD},
        {"on-line", no_argument, 0, ON_LINE},
        {"pad", required_argument, 0, PAD},
        {"seconds", required_argument, 0, SECONDS},
        {"help", no_argument, 0, HELP},
        {0},
    };
    for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
        switch (option) {
        case PORT: asked.port = (int)number("--port", optarg, 1, 65535); break;
        case STREAMS: asked.streams = number("--streams", optarg, 1, MOST_STREAMS); break;
        case EVENTS: asked.events = number("--events", optarg, 0, MOST_EVENTS); break;
        case PERIOD: asked.period_ms = number("--period-ms", optarg, 1, 3600000); break;
        case ON_LINE: asked.on_line = true; break;
        case PAD: asked.pad = number("--pad", optarg, 0, MOST_PAD); break;
        case SECONDS: asked.seconds = (double)number("--seconds", optarg, 1, 86400); break;
        case HELP: fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(1);
        }
    }
    if (!asked.port || optind != count) {
        fputs(usage, stderr);
        exit(1);
    }
}

static void listen_here(void)
{
    int one = 1;
    struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)asked.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, BACKLOG) < 0)
        die("port %d: %s", asked.port, strerror(errno));
    watch(listener, &the_listener);
}

int main(int count, char **words)
{
    read_command_line(count, words);
    need_open_files(asked.streams);
    run.open = must_alloc((size_t)asked.streams, sizeof *run.open);
    run.broadcast_ms = must_alloc(MOST_EVENTS, sizeof *run.broadcast_ms);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1: %s", strerror(errno));
    struct sigaction on_stop = {.sa_handler = stop};
    sigaction(SIGTERM, &on_stop, NULL);
    sigaction(SIGINT, &on_stop, NULL);
    listen_here();
    if (asked.on_line) {
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
        watch(STDIN_FILENO, &the_input);
    }
    serve();
    print_result();
    return 0;
}

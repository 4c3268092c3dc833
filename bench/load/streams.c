/* Opens many Server-Sent Event streams from one process and measures what arrives on them.
 *
 * Every `t=<nanoseconds of the monotonic clock>` in a body is one delivery, however the bytes were cut into reads.
 * Writes "ready <opened>" to stderr when the last handshake is over, and one JSON object to stdout at the end:
 * after --seconds, after --events events reached every open stream, or at SIGTERM or SIGINT.
 *
 * With --storm all streams are cut at once at a line on stdin. At the next line they come back, each with its cursor and
 * the cookie it was given, and each has to get --missed events, in order and none twice.
 */
#define _GNU_SOURCE
#include "tool.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    MOST_STREAMS = 100000,
    HEAD_BYTES = 8192,
    REQUEST_BYTES = 16384,
    READ_BYTES = 1 << 16,
    TURN_EVENTS = 1024,
    TURN_MS = 50,
    ADDRESSES_PER_BLOCK = 250, /* 127.0.1.1 to 127.0.1.250, then 127.0.2.1 and so on */
    MOST_BLOCKS = 254,
    BAD_RECEIVE_BUFFER = 16384, /* so that a bad reader is full soon, as on a slow line */
    TRICKLE_BYTES = 2048,
    TRICKLE_MS = 250,
    LEAST_STAMP_DIGITS = 10, /* a shorter `t=` is somebody's text */
    MOST_STAMP_DIGITS = 19,
    CURSOR_BYTES = 65, /* of the wire: at most 64 characters */
    SETTLE_MS = 1000, /* after the last missed event: what comes now comes twice */
};

/* What a reader does once its response head has come. */
enum reader { GOOD, STOPPED, TRICKLING, VANISHED };
static const char *const reader_names[] = {"good", "stopped", "trickling", "vanished"};

static struct {
    enum reader reader;
    const char *host;
    int port;
    const char *path;
    long paths;
    long streams;
    double seconds;
    long events;
    long in_flight;
    long per_address;
    double connect_seconds;
    const char *cookies;
    const char *last_event_id;
    bool each;
    bool byes;
    bool storm;
    long missed;
} asked = {
    .host = "127.0.0.1",
    .path = "/events/public:bench/",
    .paths = 1,
    .streams = 100,
    .seconds = 10,
    .in_flight = 256,
    .per_address = 200, /* Taskbell's own STREAMS_PER_ADDRESS: the defaults let every stream in */
    .connect_seconds = 120,
};

/* ---- latencies: a histogram with 128 steps to each power of two, so a figure is right to 0.8 % ---- */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS) * STEPS };

struct latencies {
    uint64_t counts[BUCKETS];
    uint64_t total, most;
};

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    return (shift << STEP_BITS) + (unsigned)(ns >> shift);
}

static uint64_t middle_of(unsigned bucket)
{
    if (bucket < 2 * STEPS)
        return bucket;
    unsigned shift = (bucket >> STEP_BITS) - 1;
    return ((uint64_t)(bucket - (shift << STEP_BITS)) << shift) + (1ull << shift) / 2;
}

static void add_latency(struct latencies *l, uint64_t ns)
{
    l->counts[bucket_of(ns)]++;
    l->total++;
    if (ns > l->most)
        l->most = ns;
}

static double quantile_ms(const struct latencies *l, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)l->total), seen = 0;
    for (unsigned b = 0; b < BUCKETS; b++) {
        seen += l->counts[b];
        if (seen > wanted) {
            uint64_t ns = middle_of(b);
            return (double)(ns < l->most ? ns : l->most) / NS_PER_MS;
        }
    }
    return (double)l->most / NS_PER_MS;
}

/* ---- events: one entry for each distinct stamp ---- */

struct event {
    uint64_t stamp, first, last;
    long streams;
};

static struct {
    struct event *list; /* in order of first delivery */
    size_t count, room;
    size_t *slots; /* open addressing, index + 1 into list, 0 is free */
    size_t slot_count;
    struct event *recent;
} events;

static size_t slot_of(uint64_t stamp)
{
    size_t slot = (stamp * 0x9E3779B97F4A7C15ull) & (events.slot_count - 1);
    while (events.slots[slot] && events.list[events.slots[slot] - 1].stamp != stamp)
        slot = (slot + 1) & (events.slot_count - 1);
    return slot;
}

static void make_room(void)
{
    events.room = events.room ? events.room * 2 : 1024;
    events.list = realloc(events.list, events.room * sizeof *events.list);
    if (!events.list)
        die("out of memory for %zu events", events.room);
    free(events.slots);
    events.slot_count = events.room * 2;
    events.slots = must_alloc(events.slot_count, sizeof *events.slots);
    for (size_t i = 0; i < events.count; i++)
        events.slots[slot_of(events.list[i].stamp)] = i + 1;
}

static struct event *event_of(uint64_t stamp)
{
    /* One event goes to thousands of streams in a row, so the last one found is nearly always the one wanted. */
    if (events.recent && events.recent->stamp == stamp)
        return events.recent;
    if (events.count == events.room)
        make_room();
    size_t slot = slot_of(stamp);
    if (!events.slots[slot]) {
        events.list[events.count] = (struct event){.stamp = stamp};
        events.slots[slot] = ++events.count;
    }
    return events.recent = &events.list[events.slots[slot] - 1];
}

/* ---- streams ---- */

enum phase { CONNECTING, HEAD, BODY, OVER };
enum scan { SEEKING, SAW_T, IN_STAMP };
enum chunk { SIZE, SIZE_REST, DATA, DATA_END };

struct stream {
    int fd;
    uint8_t phase, scan, chunk;
    bool chunked;
    uint8_t digits;
    uint16_t head_length;
    uint64_t began, stamp, chunk_left;
    char *head;
    uint64_t bye_at, ended_at; /* 0: none, or not in order */
    long retry_ms;
    /* of a storm */
    char *pass;
    char cursor[CURSOR_BYTES];
    uint64_t newest;
    long got;
};

static struct {
    struct stream *all;
    long begun, opened, failed, closed;
    uint64_t began, ready, first, last;
    uint64_t deliveries, bytes, complete_events;
    long placed, caught_up, wrong, passes;
    bool back;
    struct latencies handshake, delivery;
    char problem[256]; /* the first thing that went wrong, for the reader of the result */
} run;

static int poller;
static volatile sig_atomic_t told_to_stop;

static void stop(int signal_number)
{
    (void)signal_number;
    told_to_stop = 1;
}

static void end_stream(struct stream *s, const char *problem)
{
    if (s->phase == BODY) {
        run.closed++;
        s->ended_at = problem ? 0 : now_ns();
    }
    else
        run.failed++;
    if (problem && !*run.problem)
        snprintf(run.problem, sizeof run.problem, "%.*s", (int)strcspn(problem, "\r\n"), problem);
    s->phase = OVER;
    free(s->head);
    s->head = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* A missed event of a storm is one stream's own: later than the one before, and not one too many. */
static void caught_up_with(struct stream *s, uint64_t stamp)
{
    if (stamp <= s->newest || ++s->got > asked.missed)
        run.wrong++;
    else if (s->got == asked.missed)
        run.caught_up++;
    s->newest = stamp;
}

static void delivered(struct stream *s, uint64_t stamp, uint64_t at)
{
    if (asked.storm) {
        if (!run.deliveries++)
            run.first = at;
        run.last = at;
        caught_up_with(s, stamp);
        return;
    }
    struct event *e = event_of(stamp);
    if (!e->streams++)
        e->first = at;
    e->last = at;
    if (e->streams == run.opened - run.closed)
        run.complete_events++;
    if (!run.deliveries++)
        run.first = at;
    run.last = at;
    add_latency(&run.delivery, at - stamp);
}

/* The state lives in the stream, so a stamp that is cut between two reads is still one stamp. */
static void scan(struct stream *s, const char *p, const char *end, uint64_t at)
{
    while (p < end) {
        switch (s->scan) {
        case SEEKING:
            p = memchr(p, 't', (size_t)(end - p));
            if (!p)
                return;
            p++;
            s->scan = SAW_T;
            break;
        case SAW_T:
            s->scan = SEEKING; /* and look at this byte again: it may be the `t` */
            if (*p == '=') {
                p++;
                s->scan = IN_STAMP;
                s->stamp = 0;
                s->digits = 0;
            }
            break;
        case IN_STAMP:
            if (*p >= '0' && *p <= '9' && s->digits < MOST_STAMP_DIGITS) {
                s->stamp = s->stamp * 10 + (uint64_t)(*p++ - '0');
                s->digits++;
                break;
            }
            s->scan = SEEKING;
            if (s->digits >= LEAST_STAMP_DIGITS && s->stamp <= at)
                delivered(s, s->stamp, at);
            break;
        }
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void scan_chunks(struct stream *s, const char *p, const char *end, uint64_t at)
{
    while (p < end) {
        switch (s->chunk) {
        case SIZE: {
            int digit = hex_digit(*p);
            if (digit < 0) {
                s->chunk = SIZE_REST;
                break;
            }
            s->chunk_left = s->chunk_left * 16 + (uint64_t)digit;
            p++;
            break;
        }
        case SIZE_REST:
            if (*p++ == '\n')
                s->chunk = DATA;
            break;
        case DATA: {
            uint64_t here = (uint64_t)(end - p) < s->chunk_left ? (uint64_t)(end - p) : s->chunk_left;
            scan(s, p, p + here, at);
            p += here;
            s->chunk_left -= here;
            if (!s->chunk_left)
                s->chunk = DATA_END;
            break;
        }
        case DATA_END:
            if (*p++ == '\n')
                s->chunk = SIZE;
            break;
        }
    }
}

/* A server writes it in one piece, after everything else. */
static void look_for_bye(struct stream *s, const char *p, size_t length, uint64_t at)
{
    static const char retry[] = "retry: ", bye[] = "\nevent: bye\n";
    const char *end = p + length, *last = memmem(p, length, bye, sizeof bye - 1);
    if (!last)
        return;
    s->bye_at = at;
    for (const char *q = p; (q = memmem(q, (size_t)(end - q), retry, sizeof retry - 1)) && q < last;) {
        q += sizeof retry - 1;
        for (s->retry_ms = 0; q < last && *q >= '0' && *q <= '9'; q++)
            s->retry_ms = s->retry_ms * 10 + (*q - '0');
    }
}

/* Before the cut hardly anything arrives, so an id is never split between two reads. */
static void note_cursor(struct stream *s, const char *p, size_t length)
{
    static const char name[] = "\nid: ";
    const char *end = p + length, *found, *stop;
    while ((found = memmem(p, (size_t)(end - p), name, sizeof name - 1))) {
        p = found + sizeof name - 1;
        stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop || stop - p >= CURSOR_BYTES)
            return;
        run.placed += !*s->cursor;
        memcpy(s->cursor, p, (size_t)(stop - p));
        s->cursor[stop - p] = 0;
    }
}

static void take_body(struct stream *s, const char *p, size_t length, uint64_t at)
{
    if (asked.storm && !run.back)
        note_cursor(s, p, length);
    run.bytes += length;
    if (asked.byes)
        look_for_bye(s, p, length, at);
    (s->chunked ? scan_chunks : scan)(s, p, p + length, at);
}

/* A stopped or trickling reader is no longer told of bytes, only of the connection's end. One that vanished has a filter
 * that drops every packet before TCP sees it: nothing is acknowledged and nothing refused, as behind a cut cable. */
static void turn_bad(struct stream *s)
{
    struct epoll_event interest = {.events = 0, .data.ptr = s};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &interest) < 0)
        die("epoll_ctl: %s", strerror(errno));
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog filter = {.len = 1, .filter = &drop};
    if (asked.reader == VANISHED && setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0)
        die("SO_ATTACH_FILTER: %s", strerror(errno));
}

/* Keep `name=value` of the first cookie that a response sets. */
static void note_pass(struct stream *s)
{
    static const char name[] = "\r\nSet-Cookie: ";
    const char *found = strcasestr(s->head, name);
    if (!found)
        return;
    found += sizeof name - 1;
    free(s->pass);
    s->pass = strndup(found, strcspn(found, ";\r\n"));
    run.passes++;
}

static void take_head(struct stream *s, const char *p, size_t length, uint64_t at)
{
    size_t before = s->head_length, room = HEAD_BYTES - 1 - before;
    size_t taken = length < room ? length : room;
    memcpy(s->head + before, p, taken);
    s->head_length = (uint16_t)(before + taken);
    s->head[s->head_length] = 0;
    char *blank = strstr(s->head, "\r\n\r\n");
    if (!blank) {
        if (taken < length)
            end_stream(s, "a response head over 8 KiB");
        return;
    }
    if (strncmp(s->head, "HTTP/1.1 200", 12) != 0) {
        end_stream(s, s->head);
        return;
    }
    blank[2] = 0;
    s->chunked = strcasestr(s->head, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    if (asked.storm)
        note_pass(s);
    size_t used = (size_t)(blank + 4 - s->head) - before;
    free(s->head);
    s->head = NULL;
    s->phase = BODY;
    run.opened++;
    add_latency(&run.handshake, at - s->began);
    take_body(s, p + used, length - used, at);
    if (asked.reader != GOOD)
        turn_bad(s);
}

static void take(struct stream *s, size_t most)
{
    static char buffer[READ_BYTES];
    ssize_t length = read(s->fd, buffer, most);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        end_stream(s, length ? strerror(errno) : s->phase == HEAD ? "closed before a response" : NULL);
        return;
    }
    (s->phase == HEAD ? take_head : take_body)(s, buffer, (size_t)length, now_ns());
}

/* ---- requests ---- */

static struct {
    char **lines;
    long count;
} cookies;

static void read_cookies(const char *name)
{
    FILE *file = fopen(name, "r");
    if (!file)
        die("%s: %s", name, strerror(errno));
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    long room = 0;
    while ((length = getline(&line, &size, file)) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line)
            continue;
        if (cookies.count == room) {
            room = room ? room * 2 : 1024;
            cookies.lines = realloc(cookies.lines, (size_t)room * sizeof *cookies.lines);
        }
        if (!cookies.lines || !(cookies.lines[cookies.count++] = strdup(line)))
            die("out of memory for cookies");
    }
    free(line);
    fclose(file);
    if (!cookies.count)
        die("%s holds no cookie; write one Cookie header value a line", name);
}

static const char *path_of(long index)
{
    static char path[REQUEST_BYTES];
    const char *mark = strstr(asked.path, "%d");
    if (!mark)
        return asked.path;
    snprintf(path, sizeof path, "%.*s%ld%s", (int)(mark - asked.path), asked.path, index % asked.paths, mark + 2);
    return path;
}

static size_t write_request(char *request, const struct stream *s)
{
    const char *cookie = cookies.count ? cookies.lines[(s - run.all) % cookies.count] : NULL;
    const char *cursor = *s->cursor ? s->cursor : asked.last_event_id;
    int length = snprintf(request, REQUEST_BYTES,
                          "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n%s%s%s%s%s%s%s%s\r\n",
                          path_of(s - run.all), asked.host, asked.port, cookie ? "Cookie: " : "", cookie ? cookie : "",
                          cookie && s->pass ? "; " : "", cookie && s->pass ? s->pass : "", cookie ? "\r\n" : "",
                          cursor ? "Last-Event-ID: " : "", cursor ? cursor : "", cursor ? "\r\n" : "");
    if (length >= REQUEST_BYTES)
        die("the request is over %d bytes", REQUEST_BYTES);
    return (size_t)length;
}

static void send_request(struct stream *s)
{
    static char request[REQUEST_BYTES];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end_stream(s, strerror(error));
        return;
    }
    size_t length = write_request(request, s);
    if (send(s->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) {
        end_stream(s, "the request could not be sent in one piece");
        return;
    }
    s->phase = HEAD;
    s->head = must_alloc(1, HEAD_BYTES);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &interest);
}

/* Each stream has a source address by its index: ports do not run out, and limits per address can be met or spread. */
static struct sockaddr_in source_of(long index)
{
    uint32_t address = (uint32_t)(index / asked.per_address);
    uint32_t block = 1 + address / ADDRESSES_PER_BLOCK, host = 1 + address % ADDRESSES_PER_BLOCK;
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u | block << 8 | host)};
}

static void begin_stream(struct stream *s, const struct sockaddr_in *server)
{
    int one = 1;
    struct sockaddr_in source = source_of(s - run.all);
    s->began = now_ns();
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        end_stream(s, strerror(errno));
        return;
    }
    setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (asked.reader != GOOD)
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &(int){BAD_RECEIVE_BUFFER}, sizeof(int));
    struct epoll_event interest = {.events = EPOLLOUT, .data.ptr = s};
    if (bind(s->fd, (const struct sockaddr *)&source, sizeof source) < 0 ||
        (connect(s->fd, (const struct sockaddr *)server, sizeof *server) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &interest) < 0)
        end_stream(s, strerror(errno));
}

/* ---- the run ---- */

static void trickle(void)
{
    static uint64_t next;
    uint64_t now = now_ns();
    if (now < next)
        return;
    next = now + TRICKLE_MS * 1000000ull;
    for (long i = 0; i < run.begun; i++)
        if (run.all[i].phase == BODY)
            take(&run.all[i], TRICKLE_BYTES);
}

static void turn(int timeout_ms)
{
    struct epoll_event happened[TURN_EVENTS];
    int count = epoll_wait(poller, happened, TURN_EVENTS, timeout_ms);
    if (count < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct stream *s = happened[i].data.ptr;
        if (s->phase == CONNECTING)
            send_request(s);
        else if (s->phase != OVER)
            take(s, READ_BYTES);
    }
    if (asked.reader == TRICKLING)
        trickle();
}

static void open_streams(const struct sockaddr_in *server)
{
    run.began = now_ns();
    uint64_t deadline = run.began + (uint64_t)(asked.connect_seconds * NS_PER_S);
    /* A stream that was opened and closed again is not in flight either. */
    while ((run.opened + run.failed < asked.streams || (asked.storm && run.placed < run.opened)) && !told_to_stop) {
        while (run.begun < asked.streams && run.begun - run.opened - run.failed < asked.in_flight)
            begin_stream(&run.all[run.begun++], server);
        if (now_ns() > deadline) {
            if (!*run.problem)
                snprintf(run.problem, sizeof run.problem, "not all handshakes were over after %g s", asked.connect_seconds);
            break;
        }
        turn(TURN_MS);
    }
    run.ready = now_ns();
    fprintf(stderr, "ready %ld\n", run.opened);
    fflush(stderr);
}

/* Wait for the sign on stdin, reading what arrives meanwhile. */
static void await_line(void)
{
    struct pollfd sign = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];
    while (!told_to_stop && poll(&sign, 1, 0) == 0)
        turn(TURN_MS);
    if (read(STDIN_FILENO, line, sizeof line) <= 0)
        told_to_stop = 1;
}

static void cut_streams(void)
{
    for (long i = 0; i < asked.streams; i++) {
        struct stream *s = &run.all[i];
        if (s->phase == OVER)
            continue;
        close(s->fd);
        s->phase = CONNECTING;
        s->scan = SEEKING;
        s->chunk = SIZE;
        s->head_length = 0;
        s->chunk_left = 0;
    }
    if (run.closed || run.failed)
        die("%ld streams were gone before they were cut: %s", run.closed + run.failed, run.problem);
    fprintf(stderr, "cut %ld\n", run.opened);
    run.begun = run.opened = 0;
    run.handshake = (struct latencies){0};
    run.back = true;
}

static void listen_until_caught_up(void)
{
    uint64_t deadline = now_ns() + (uint64_t)(asked.seconds * NS_PER_S);
    while (asked.missed && !told_to_stop && now_ns() < deadline && run.caught_up < run.opened && !run.closed)
        turn(TURN_MS);
    for (deadline = now_ns() + SETTLE_MS * (uint64_t)NS_PER_MS; !told_to_stop && now_ns() < deadline;)
        turn(TURN_MS);
}

static void listen_to_streams(void)
{
    uint64_t deadline = run.ready + (uint64_t)(asked.seconds * NS_PER_S);
    while (!told_to_stop && now_ns() < deadline && run.closed < run.opened) {
        if (asked.events && run.complete_events >= (uint64_t)asked.events)
            break;
        turn(TURN_MS);
    }
}

/* ---- the result ---- */

static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar((unsigned char)*text < ' ' || (unsigned char)*text > '~' ? '?' : *text);
    }
    putchar('"');
}

static void print_latencies(const char *name, const struct latencies *l)
{
    printf(",\n \"%s\": ", name);
    if (!l->total) {
        printf("null");
        return;
    }
    printf("{\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}", quantile_ms(l, 0.5), quantile_ms(l, 0.9),
           quantile_ms(l, 0.99), (double)l->most / NS_PER_MS);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* `last`: publication until the last stream had the event. `spread`: first stream until last stream. */
static void print_to_all(const char *name, bool from_first)
{
    double *values = must_alloc(events.count + 1, sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < events.count; i++) {
        const struct event *e = &events.list[i];
        if (e->streams >= run.opened - run.closed)
            values[count++] = (double)(e->last - (from_first ? e->first : e->stamp)) / NS_PER_MS;
    }
    qsort(values, count, sizeof *values, by_value);
    printf(",\n \"%s\": ", name);
    if (count)
        printf("{\"min\": %.3f, \"p50\": %.3f, \"max\": %.3f}", values[0], values[count / 2], values[count - 1]);
    else
        printf("null");
    free(values);
}

static void print_each(void)
{
    printf(",\n \"each\": [");
    for (size_t i = 0; i < events.count; i++) {
        const struct event *e = &events.list[i];
        printf("%s\n  {\"t\": %llu, \"first\": %llu, \"last\": %llu, \"streams\": %ld}", i ? "," : "",
               (unsigned long long)e->stamp, (unsigned long long)e->first, (unsigned long long)e->last, e->streams);
    }
    printf("]");
}

static void print_byes(void)
{
    bool first = true;
    printf(",\n \"byes\": [");
    for (const struct stream *s = run.all; s < run.all + asked.streams; s++) {
        if (!s->bye_at)
            continue;
        printf("%s\n  {\"at\": %llu, \"retry_ms\": %ld, \"ended\": %llu}", first ? "" : ",",
               (unsigned long long)s->bye_at, s->retry_ms, (unsigned long long)s->ended_at);
        first = false;
    }
    printf("]");
}

static void print_result(void)
{
    double handshake_s = (double)(run.ready - run.began) / NS_PER_S;
    double delivery_s = (double)(run.last - run.first) / NS_PER_S;
    printf("{\"streams\": {\"asked\": %ld, \"opened\": %ld, \"failed\": %ld, \"closed\": %ld, \"problem\": ", asked.streams,
           run.opened, asked.streams - run.opened, run.closed);
    if (*run.problem)
        print_text(run.problem);
    else
        printf("null");
    printf("},\n \"handshakes\": {\"seconds\": %.4f, \"per_second\": %.1f}", handshake_s,
           (double)run.opened / handshake_s);
    print_latencies("handshake_ms", &run.handshake);
    printf(",\n \"deliveries\": {\"count\": %llu, \"events\": %zu, \"complete\": %llu, \"bytes\": %llu, \"seconds\": %.4f, "
           "\"per_second\": %.1f}",
           (unsigned long long)run.deliveries, events.count, (unsigned long long)run.complete_events,
           (unsigned long long)run.bytes, delivery_s, delivery_s > 0 ? (double)run.deliveries / delivery_s : 0.0);
    print_latencies("latency_ms", &run.delivery);
    if (asked.storm)
        printf(",\n \"storm\": {\"passes\": %ld, \"caught_up\": %ld, \"wrong\": %ld, \"seconds\": %.4f}", run.passes,
               run.caught_up, run.wrong, run.last ? (double)(run.last - run.began) / NS_PER_S : 0.0);
    print_to_all("to_all_ms", false);
    print_to_all("spread_ms", true);
    if (asked.each)
        print_each();
    if (asked.byes)
        print_byes();
    printf("}\n");
}

/* ---- the command line ---- */

static const char usage[] =
    "streams --port P --streams N [options]\n"
    "  --host ADDRESS          the server (127.0.0.1)\n"
    "  --path PATH             what to open (/events/public:bench/)\n"
    "  --paths N               put a number below N for `%d` in PATH; stream i has i modulo N\n"
    "  --seconds S             listen this long after the last handshake (10)\n"
    "  --events K              stop as soon as K events reached every open stream\n"
    "  --in-flight N           handshakes under way at once (256)\n"
    "  --per-address N         streams from one source address 127.0.x.y (200)\n"
    "  --connect-seconds S     give up handshakes after this long (120)\n"
    "  --cookies FILE          one Cookie header value a line; stream i sends line i, round and round\n"
    "  --last-event-id CURSOR  resume here\n"
    "  --reader KIND           good, or, after the response head: stopped, trickling (8 KB a second), vanished\n"
    "  --storm                 at a line on stdin cut all streams, at the next one let them come back\n"
    "  --missed K              each of them then has to get K events (0)\n"
    "  --each                  list every event: stamp, first and last delivery on the monotonic clock, streams\n"
    "  --byes                  list every `bye`: when it came, its retry, when its stream ended in order (else 0)\n";

static double seconds_of(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 86400))
        die("%s takes seconds, not \"%s\"", option, text);
    return value;
}

static enum reader reader_of(const char *text)
{
    for (enum reader kind = GOOD; kind <= VANISHED; kind++)
        if (strcmp(text, reader_names[kind]) == 0)
            return kind;
    die("--reader takes good, stopped, trickling or vanished, not \"%s\"", text);
}

static void read_command_line(int count, char **words)
{
    enum { HOST = 1, PORT, PATH, PATHS, STREAMS, SECONDS, EVENTS, IN_FLIGHT, PER_ADDRESS, CONNECT, COOKIES, LAST_ID, READER, STORM, MISSED, EACH, BYES, HELP };
    static const struct option options[] = {
        {"host", required_argument, 0, HOST},
        {"port", required_argument, 0, PORT},
        {"path", required_argument, 0, PATH},
        {"paths", required_argument, 0, PATHS},
        {"streams", required_argument, 0, STREAMS},
        {"seconds", required_argument, 0, SECONDS},
        {"events", required_argument, 0, EVENTS},
        {"in-flight", required_argument, 0, IN_FLIGHT},
        {"per-address", required_argument, 0, PER_ADDRESS},
        {"connect-seconds", required_argument, 0, CONNECT},
        {"cookies", required_argument, 0, COOKIES},
        {"last-event-id", required_argument, 0, LAST_ID},
        {"reader", required_argument, 0, READER},
        {"storm", no_argument, 0, STORM},
        {"missed", required_argument, 0, MISSED},
        {"each", no_argument, 0, EACH},
        {"byes", no_argument, 0, BYES},
        {"help", no_argument, 0, HELP},
        {0},
    };
    for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
        switch (option) {
        case HOST: asked.host = optarg; break;
        case PORT: asked.port = (int)number("--port", optarg, 1, 65535); break;
        case PATH: asked.path = optarg; break;
        case PATHS: asked.paths = number("--paths", optarg, 1, MOST_STREAMS); break;
        case STREAMS: asked.streams = number("--streams", optarg, 1, MOST_STREAMS); break;
        case SECONDS: asked.seconds = seconds_of("--seconds", optarg); break;
        case EVENTS: asked.events = number("--events", optarg, 1, 1000000000); break;
        case IN_FLIGHT: asked.in_flight = number("--in-flight", optarg, 1, MOST_STREAMS); break;
        case PER_ADDRESS: asked.per_address = number("--per-address", optarg, 1, 20000); break;
        case CONNECT: asked.connect_seconds = seconds_of("--connect-seconds", optarg); break;
        case COOKIES: asked.cookies = optarg; break;
        case LAST_ID: asked.last_event_id = optarg; break;
        case READER: asked.reader = reader_of(optarg); break;
        case STORM: asked.storm = true; break;
        case MISSED: asked.missed = number("--missed", optarg, 0, 1000000); break;
        case EACH: asked.each = true; break;
        case BYES: asked.byes = true; break;
        case HELP: fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(1);
        }
    }
    if (!asked.port || optind != count) {
        fputs(usage, stderr);
        exit(1);
    }
    if (asked.streams > asked.per_address * ADDRESSES_PER_BLOCK * MOST_BLOCKS)
        die("%ld streams at %ld an address need more loopback addresses than there are", asked.streams,
            asked.per_address);
}

int main(int count, char **words)
{
    read_command_line(count, words);
    need_open_files(asked.streams);
    if (asked.cookies)
        read_cookies(asked.cookies);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.port)};
    if (inet_pton(AF_INET, asked.host, &server.sin_addr) != 1)
        die("--host takes an IPv4 address, not \"%s\"", asked.host);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1: %s", strerror(errno));
    struct sigaction on_stop = {.sa_handler = stop};
    sigaction(SIGTERM, &on_stop, NULL);
    sigaction(SIGINT, &on_stop, NULL);
    run.all = must_alloc((size_t)asked.streams, sizeof *run.all);

    open_streams(&server);
    if (asked.storm) {
        await_line();
        cut_streams();
        await_line();
        open_streams(&server);
        listen_until_caught_up();
    } else {
        listen_to_streams();
    }
    print_result();
    return 0;
}

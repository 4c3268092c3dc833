/* What both load tools need: a clock, an honest end, numbers from the command line, room for many sockets. */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1e6

/* The clock of Python's time.monotonic_ns(): the same in every process of one machine. */
static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static inline void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        die("out of memory for %zu x %zu bytes", count, size);
    return memory;
}

static inline long number(const char *option, const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        die("%s takes a number from %ld to %ld, not \"%s\"", option, least, most, text);
    return value;
}

/* Raise the soft limit to the hard one, and say so when that is still too few. */
static inline void need_open_files(long sockets)
{
    const long spare = 32;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit: %s", strerror(errno));
    if (limit.rlim_max != RLIM_INFINITY && (rlim_t)(sockets + spare) > limit.rlim_max)
        die("%ld streams need more open files than this process may have (%llu)", sockets,
            (unsigned long long)limit.rlim_max);
}

#endif

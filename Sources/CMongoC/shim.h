#include <malloc.h>
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* bson_t is aligned to 128 bytes, which Swift cannot express: it lives behind these. */

/* An empty document in memory of its own; NULL when there is none. */
static inline bson_t *drp_bson_new(void)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 128, sizeof(bson_t)) != 0) return NULL;
    bson_init((bson_t *)memory);
    return (bson_t *)memory;
}

/* Frees the content, and makes it an empty document again. */
static inline void drp_bson_clear(bson_t *bson)
{
    bson_destroy(bson);
    bson_init(bson);
}

static inline void drp_bson_free(bson_t *bson)
{
    bson_destroy(bson);
    free(bson);
}

/* Makes it a view of foreign bytes, without a copy; false if their length is wrong. */
static inline bool drp_bson_borrow(bson_t *bson, const uint8_t *bytes, size_t length)
{
    return bson_init_static(bson, bytes, length);
}

static inline uint32_t drp_bson_length(const bson_t *bson) { return bson->len; }

static inline const char *drp_host_and_port(const mongoc_host_list_t *host)
{
    return host ? host->host_and_port : NULL;
}

static inline const mongoc_host_list_t *drp_next_host(const mongoc_host_list_t *host)
{
    return host ? host->next : NULL;
}

static void drp_discard_log(mongoc_log_level_t level, const char *domain, const char *message, void *data)
{
    (void)level, (void)domain, (void)message, (void)data;
}

/* Once a process, before anything else; the library's own log would go to stdout and stderr. */
static inline void drp_mongoc_start(void)
{
    mongoc_log_set_handler(drp_discard_log, NULL);
    mongoc_init();
    /* Its counters lie in shared memory under our pid. Without a name, they go with this process even if that is killed;
       left behind, they would have libmongoc warn on stderr, before main, in whoever gets the pid next. */
    char counters[32];
    snprintf(counters, sizeof counters, "/mongoc-%d", (int)getpid());
    shm_unlink(counters);
    /* Replies and chunks are blocks of megabytes. By default glibc gives each back to the kernel, and the page faults of
       the next one cost 15 % of a capture's CPU (measured); kept, they cost about 30 MB of memory. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

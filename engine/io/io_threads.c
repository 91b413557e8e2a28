/* io_threads.c - requests in flight on a few helper threads, with pread and pwrite. See io.h for the contract.
 *
 * 1. A request is in `todo`, with one helper, or in `finished`.
 * 2. The first helper starts with the io, more only when a request finds all of them busy: an io that does little
 *    costs little. If a further one cannot be started, those there do the work.
 *
 * All fields from `todo` on are under `lock`; helpers hold it only to move requests. Helpers block all signals.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/base/size.h"
#include "engine/io/backend.h"
#include "engine/io/os.h"

enum {
    HELPER_STACK_BYTES = 128 * 1024,
    HELPER_TOUCHED_BYTES = 12 * 1024,   /* of it, the thread's control block included; measured 8 KiB */
};

struct request_queue {
    struct io_request *first, *last;
};

struct threads {
    struct io io;
    unsigned helper_max;
    pthread_mutex_t lock;
    pthread_cond_t work_came;           /* for helpers: todo, closing */
    pthread_cond_t news_came;           /* for the worker: finished, woken */
    struct request_queue todo, finished;
    unsigned helper_count, idle_count, todo_count;
    bool worker_sleeps, woken, closing;
    pthread_t helpers[IO_HELPERS_MAX];
};

static void push(struct request_queue *q, struct io_request *r)
{
    r->next = NULL;
    if (q->first)
        q->last->next = r;
    else
        q->first = r;
    q->last = r;
}

static struct io_request *pop(struct request_queue *q)
{
    struct io_request *r = q->first;

    if (r)
        q->first = r->next;
    return r;
}

static int64_t next_call(const struct io_request *r)
{
    char *memory = (char *)r->memory + r->done_bytes;
    uint64_t offset = r->offset + r->done_bytes;

    if (io_request_writes_out(r))
        return os_write_out(r->fd, offset - r->dirty_bytes, r->dirty_bytes);
    return r->op == IO_READ ? os_pread(r->fd, memory, io_request_next_bytes(r), offset)
                            : os_pwrite(r->fd, memory, io_request_next_bytes(r), offset);
}

static void carry_out(struct io_request *r)
{
    while (!io_request_advance(r, next_call(r))) { }
}

static void *help(void *argument)
{
    struct threads *t = argument;
    struct io_request *r;

    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->todo.first && !t->closing) {
            t->idle_count++;
            pthread_cond_wait(&t->work_came, &t->lock);
            t->idle_count--;
        }
        r = pop(&t->todo);
        if (!r)
            break;
        t->todo_count--;
        pthread_mutex_unlock(&t->lock);
        carry_out(r);
        pthread_mutex_lock(&t->lock);
        push(&t->finished, r);
        if (t->worker_sleeps)
            pthread_cond_signal(&t->news_came);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* 0 or -errno. The caller holds the lock, or is the only one there. */
static int start_helper(struct threads *t)
{
    sigset_t all, before;
    pthread_attr_t attr;
    int result;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, HELPER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    result = pthread_create(&t->helpers[t->helper_count], &attr, help, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (result == 0)
        t->helper_count++;
    return -result;
}

static void threads_submit(struct io *io, struct io_request *request)
{
    struct threads *t = (struct threads *)io;

    pthread_mutex_lock(&t->lock);
    push(&t->todo, request);
    t->todo_count++;
    if (t->todo_count > t->idle_count && t->helper_count < t->helper_max)
        start_helper(t);        /* failing is fine: there is one already (2) */
    pthread_cond_signal(&t->work_came);
    pthread_mutex_unlock(&t->lock);
}

static unsigned threads_reap(struct io *io, struct io_request **done, unsigned max, bool wait)
{
    struct threads *t = (struct threads *)io;
    unsigned count = 0;

    pthread_mutex_lock(&t->lock);
    while (wait && !t->finished.first && !t->woken) {
        t->worker_sleeps = true;
        pthread_cond_wait(&t->news_came, &t->lock);
        t->worker_sleeps = false;
    }
    while (count < max && t->finished.first)
        done[count++] = pop(&t->finished);
    if (!count && wait)
        t->woken = false;
    pthread_mutex_unlock(&t->lock);
    return count;
}

static void threads_wake(struct io *io)
{
    struct threads *t = (struct threads *)io;

    pthread_mutex_lock(&t->lock);
    t->woken = true;
    pthread_cond_signal(&t->news_came);
    pthread_mutex_unlock(&t->lock);
}

static void threads_close(struct io *io)
{
    struct threads *t = (struct threads *)io;

    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_broadcast(&t->work_came);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->helper_count; i++)
        pthread_join(t->helpers[i], NULL);
    pthread_cond_destroy(&t->news_came);
    pthread_cond_destroy(&t->work_came);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static unsigned helpers_for(unsigned depth_max)
{
    return (unsigned)size_min(depth_max, IO_HELPERS_MAX);
}

static int threads_open(struct io **io, unsigned depth_max)
{
    struct threads *t = calloc(1, sizeof *t);
    int result;

    if (!t)
        return -ENOMEM;
    t->helper_max = helpers_for(depth_max);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work_came, NULL);
    pthread_cond_init(&t->news_came, NULL);
    result = start_helper(t);
    if (result < 0) {
        threads_close(&t->io);
        return result;
    }
    *io = &t->io;
    return 0;
}

static uint64_t threads_bytes(unsigned depth_max)
{
    return helpers_for(depth_max) * (uint64_t)HELPER_TOUCHED_BYTES + IO_ALIGN;   /* and the struct */
}

const struct io_type io_threads_type = {
    .open = threads_open,
    .close = threads_close,
    .submit = threads_submit,
    .reap = threads_reap,
    .wake = threads_wake,
    .bytes = threads_bytes,
};

/* stage_pieces.c - pieces of the source on their way in: claimed, located, granted memory, read, decoded. */
#include "engine/exec/stage.h"

#include <assert.h>
#include <string.h>

#include "engine/base/size.h"

enum { CLAIMS_AT_ONCE = 4, CLAIM_TASKS_AHEAD_MAX = 1024 };

/* Give ring memory to waiting pieces, in the order of their tickets. Lock held. */
static void grant(struct stage_run *run)
{
    for (unsigned i = 0; i < run->worker_count; ) {
        struct worker *w = &run->workers[i];
        struct read *read = w->waiting;

        if (!read || read->state != READ_WAITING || read->piece.ticket != run->next_grant) {
            i++;
            continue;
        }
        if (read->payload_bytes > 0 || read->beside_bytes > 0) {
            uint64_t from = size_align_down(read->payload_offset, IO_ALIGN);
            uint64_t to = read->payload_bytes ? size_align_up(read->payload_offset + read->payload_bytes, IO_ALIGN) : from;

            read->memory = ring_take(&run->ring, to - from + read->beside_bytes, &read->ring_id);
            if (!read->memory)
                return;
            read->request = (struct io_request){
                .op = IO_READ, .fd = read->object.fd >= 0 ? read->object.fd : scratch_fd(run->scratch),
                .memory = read->memory, .offset = from, .bytes = to - from,
            };
        }
        read->state = READ_GRANTED;
        run->next_grant++;
        stage_wake(w);
        i = 0;
    }
}

/* A piece whose bytes are here (or that has none): any worker may decode it. Lock held. */
void stage_put_ready(struct stage_run *run, struct read *read)
{
    struct read **at = &run->ready;

    while (*at && (*at)->piece.ticket < read->piece.ticket)
        at = &(*at)->next;
    read->next = *at;
    *at = read;
    read->state = READ_READY;
    stage_wake_one(run);
}

/* Which run of its cell the piece is: the first that the task needs, from the cursor on. Those around it that the task does
 * not need are done when it is, so that nobody claims them. Lock held. */
static void claim_sub(struct stage_run *run, struct piece *piece)
{
    uint64_t from = run->claim_piece % run->subs, to = from + 1;

    piece->sub = piece->subs_first = from;
    if (run->from->next_sub) {
        piece->sub = run->from->next_sub(run, piece, from);
        assert(piece->sub < run->subs);     /* a cell that is claimed has something for its task */
        to = size_min(run->from->next_sub(run, piece, piece->sub + 1), run->subs);
    }
    piece->subs = to - from;
    run->claim_piece += piece->subs;
    if (run->skips_missing && run->claim_piece % run->subs == 0)
        missing_skip(run);
}

/* The entry of a piece's chunk. There is always a free one: chunks are claimed one after another, and each that is not done
 * has a read, but for the one that the cursor is in. Lock held. */
static struct begun_chunk *begun_chunk(struct stage_run *run, const struct piece *piece)
{
    uint64_t chunk = grid_index(&run->cells, piece->coords);
    struct begun_chunk *unused = NULL;

    for (uint64_t i = 0; i <= run->read_count; i++) {
        struct begun_chunk *b = &run->begun[i];

        if (b->subs_left > 0 && b->chunk == chunk)
            return b;
        if (b->subs_left == 0)
            unused = b;
    }
    assert(unused);
    *unused = (struct begun_chunk){ .chunk = chunk, .subs_left = run->subs };
    return unused;
}

/* Take the next piece of the source, if this worker may begin another read. Lock held. */
static struct read *claim(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;
    struct read *read = run->unused;
    struct piece *piece;

    w->open_seen = run->tasks_open;
    if (run->failed || run->claim_task >= run->tasks_open || w->waiting || !read ||
        w->reads_in_flight >= run->stage->reads_in_flight)
        return NULL;
    while (run->claim_piece == run->claim_pieces) {     /* not without end: tasks may be without pieces */
        uint64_t next = stage_next_task(run, run->claim_task + 1);

        if (next >= run->tasks_open || run->claim_task >= run->task + CLAIM_TASKS_AHEAD_MAX)
            return NULL;
        run->claim_task = next;
        if (!run->from->enter_task(run, err)) {
            stage_fail(run, err);
            return NULL;
        }
    }
    run->unused = read->next;
    memset(read, 0, sizeof *read);
    piece = &read->piece;
    piece->task = run->claim_task;
    piece->ticket = run->next_ticket++;
    piece->cell = run->claim_piece / run->subs;
    cell_range_coords(run->cells.rank, &run->claim_cells, piece->cell, piece->coords);
    claim_sub(run, piece);
    if (run->begun)
        begun_chunk(run, piece);
    if (run->from->claimed)
        run->from->claimed(run, read);
    read->object.fd = -1;
    w->waiting = read;
    return read;
}

/* Submit what was granted. */
static void submit_granted(struct worker *w)
{
    struct stage_run *run = w->run;
    struct read *read;

    pthread_mutex_lock(&run->lock);
    read = w->waiting;
    if (read && read->state == READ_GRANTED) {
        w->waiting = NULL;
        if (read->payload_bytes > 0) {
            read->state = READ_SUBMITTED;
        } else {
            stage_put_ready(run, read);
            read = NULL;
        }
    } else {
        read = NULL;
    }
    pthread_mutex_unlock(&run->lock);
    if (read) {
        if (run->from->granted)
            run->from->granted(w, read);
        read->reader = w;
        w->reads_in_flight++;
        io_submit(w->io, &read->request);
    }
}

/* A damaged chunk of a scan that wants to know them all: told once, and then nothing is there to read. */
static bool report_damage(struct stage_run *run, struct read *read, struct error *err)
{
    struct begun_chunk *begun;
    struct chunk_place place;

    if (!run->damaged || err->code != ERR_INPUT)
        return false;
    array_chunk_place(run->array, read->piece.coords, &place);
    pthread_mutex_lock(&run->lock);
    begun = run->begun ? begun_chunk(run, &read->piece) : NULL;
    if (!begun || !begun->told)
        run->damaged(run->damaged_context, place.key, err);
    if (begun)
        begun->told = true;
    pthread_mutex_unlock(&run->lock);
    *err = (struct error){ 0 };
    store_object_close(&read->object);
    read->payload_bytes = read->beside_bytes = 0;
    read->empty = true;
    return true;
}

/* Claim, locate and submit pieces until memory, slots or pieces run out. */
bool stage_start_reads(struct worker *w, struct error *err)
{
    struct stage_run *run = w->run;

    for (unsigned i = 0; i < CLAIMS_AT_ONCE; i++) {
        struct read *read;

        submit_granted(w);
        pthread_mutex_lock(&run->lock);
        read = claim(w, err);
        pthread_mutex_unlock(&run->lock);
        if (!read)
            return i > 0;
        if (!run->from->locate(w, read, err) && !report_damage(run, read, err)) {
            error_locate(err, run->source_span);
            stage_fail_unlocked(run, err);
            return false;
        }
        pthread_mutex_lock(&run->lock);
        read->state = READ_WAITING;
        grant(run);
        pthread_mutex_unlock(&run->lock);
    }
    submit_granted(w);
    return true;
}

/* Give back what a piece held. Lock held. */
static void release_read(struct stage_run *run, struct read *read)
{
    if (read->memory) {
        ring_give_back(&run->ring, read->ring_id);
        read->memory = NULL;
    }
    read->state = READ_UNUSED;
    read->next = run->unused;
    run->unused = read;
    grant(run);
}

/* What the piece counts for in the progress: its share, with those it stands for, of the part of its cell that the task
 * needs. */
static uint64_t piece_work_bytes(const struct stage_run *run, const struct piece *piece)
{
    struct box needed;
    uint64_t items;

    if (!box_intersect(run->cells.rank, &piece->box, &run->box, &needed))
        return 0;
    items = box_elements(run->cells.rank, &needed);
    return (items / run->subs * piece->subs + (piece->subs_first == 0 ? items % run->subs : 0)) * run->item_bytes;
}

/* Decode one ready piece of the task at hand. False: there was none. */
bool stage_decode_ready(struct worker *w)
{
    struct stage_run *run = w->run;
    struct error err = { 0 };
    struct read *read = NULL;
    uint64_t subs;
    bool ok;

    pthread_mutex_lock(&run->lock);
    if (run->phase == PHASE_FILL && !run->failed && run->ready && run->ready->piece.task == run->task) {
        read = run->ready;
        run->ready = read->next;
    }
    pthread_mutex_unlock(&run->lock);
    if (!read)
        return false;
    ok = run->from->decode(w, read, &err) || report_damage(run, read, &err);
    error_locate(&err, run->source_span);
    report_add(run->report, COUNT_WORK_BYTES, piece_work_bytes(run, &read->piece));
    subs = read->piece.subs;
    pthread_mutex_lock(&run->lock);
    run->sums.source += read->stamp * subs;
    run->carried_source += carry_takes(run, &read->piece) ? read->stamp * subs : 0;
    if (run->begun)
        begun_chunk(run, &read->piece)->subs_left -= subs;
    release_read(run, read);
    if (!ok)
        stage_fail(run, &err);
    else
        stage_pieces_done(run, subs);
    pthread_mutex_unlock(&run->lock);
    return true;
}

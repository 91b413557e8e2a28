/* scratch.h - the place between two stages: segments in memory first, then in one scratch file.
 *
 * A segment is one drained slab: blocks of encoded elements, then an index. Space is taken from a cursor that only
 * moves forward, in runs aligned for direct I/O. The first memory_bytes of it are memory of the pool; what follows is
 * the file, made when it is first needed and grown ahead of the cursor by fallocate, in steps. Offsets count from the
 * start of both.
 *
 *   extent     what one slab holds of one bucket, in C order of that box; cut into blocks of block_bytes raw
 *              (the last one shorter), each encoded and checksummed by itself
 *   index      for the buckets that the slab touches, in the order in which the next stage comes to them
 *              (stage.parts_walk): blocks_max entries each, unused ones zero
 *
 * On disk (little-endian; the file lives and dies with one run on one machine):
 *   index entry, 16 bytes: offset in the file (56 bits) and encoding (top 8 bits), encoded bytes, checksum.
 *   The checksum is the low half of XXH3-64 of the encoded bytes, seeded with which block it is and how it is
 *   encoded: so it vouches for the entry too, and an index that is read needs no checksum of its own. An entry that is
 *   damaged into another, even that of the next block or of the same block in another segment, leads to bytes that do not
 *   match, but for one case in 2^32. (The sum in struct segment is for who reads nothing but the index: recheck.c.)
 *
 * The journal records each segment in the file when its last write is done, and finds it again by the same struct
 * segment. What is in memory dies with the process.
 *
 * Threads: scratch_take, scratch_punch and scratch_bytes_taken from any thread; segments are set and read by one
 * thread at a time.
 */
#ifndef SLUICE_EXEC_SCRATCH_H
#define SLUICE_EXEC_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/exec/graph.h"

struct index_entry {
    uint64_t place;                 /* offset | encoding << 56 */
    uint32_t bytes;                 /* encoded; 0: there is no such block */
    uint32_t checksum;
};
_Static_assert(sizeof(struct index_entry) == 16, "256 entries fill a 4 KiB block");

static inline uint64_t entry_offset(const struct index_entry *e) { return e->place & ((UINT64_C(1) << 56) - 1); }
static inline enum spill_encoding entry_encoding(const struct index_entry *e)
{
    return (enum spill_encoding)(e->place >> 56);
}

/* Space of a segment is given back in steps while the next stage reads its buckets. */
enum { SEGMENT_STEPS = 16 };

struct segment {
    uint64_t data_offset;           /* the first byte of its data that is still kept */
    uint64_t index_offset;
    uint64_t index_bytes;
    /* [s]: nothing before it is read by a task of the s-th step or a later one. Not simply where the next bucket begins:
     * workers write side by side, and one that was held up writes its blocks behind those of many later buckets. */
    uint64_t needed_from_offset[SEGMENT_STEPS];
    uint64_t index_sum;             /* scratch_sum of the index */
    uint64_t source_sum;            /* of the source objects that its task read (resuming.h) */
    bool complete;                  /* it is there to be read */
    bool in_file;                   /* all of it, data and index: it outlives the process */
    bool recorded;                  /* the journal knows */
    bool made_again;                /* it could not be read once already */
};

/* How many tasks of the next stage make a step. */
static inline uint64_t segment_step_tasks(uint64_t tasks) { return tasks / SEGMENT_STEPS + (tasks % SEGMENT_STEPS != 0); }

struct scratch;

/* Room for `segments`: *table, of an earlier run, which becomes the scratch's; *table NULL: a new one. `memory` has
 * layout->memory_bytes (NULL: none) and outlives the scratch. */
bool scratch_open(struct scratch **s, const struct scratch_layout *layout, char *memory, uint64_t segments,
                  struct segment **table, struct error *err);
/* Remove the scratch file that a dead run left at `path` (as it noted: what does not end in SCRATCH_SUFFIX is not
 * touched). Returns the bytes it held; 0: there was none. */
#define SCRATCH_SUFFIX ".sluice-scratch"
uint64_t scratch_remove_leftover(const char *path);
/* The same of one whose run is not known: a power cut may leave the file and take the journal that speaks of it. Only if
 * nobody has it open (another machine's run may have a file of that name in a directory that both see), and where that can be
 * told. */
uint64_t scratch_remove_lost(const char *path);
/* Remove the file now: nothing of it will be read again. A large file takes a while to remove, so it is worth doing
 * while others still work. Nothing to do the second time. */
void scratch_discard(struct scratch *s);
bool scratch_is_left(const struct scratch *s);          /* it could not be removed. NULL: false */
/* The same, and the rest. NULL is fine. */
void scratch_close(struct scratch *s);
/* The file stays when the scratch is closed: another run will go on with it. */
void scratch_keep(struct scratch *s);
/* Take up the file of an earlier run, if it is still that one: `end_offset` is where its segments end. False: it is not
 * there, or another; or (err filled) it cannot be opened. `device` 0: any. */
bool scratch_reopen(struct scratch *s, uint64_t device, uint64_t inode, uint64_t end_offset, struct error *err);
/* What the file takes on the disk; 0: there is none. */
uint64_t scratch_file_bytes(const struct scratch *s);
/* Which file it is: 0, or -errno. */
int scratch_file(const struct scratch *s, uint64_t *device, uint64_t *inode);

/* What is in memory is at scratch_at(); NULL: it is in the file, at scratch_file_offset() of scratch_fd(). */
char *scratch_at(const struct scratch *s, uint64_t offset);
uint64_t scratch_file_offset(const struct scratch *s, uint64_t offset);
int scratch_fd(const struct scratch *s);
/* Both kinds, at once; for indexes. 0 or -errno. `bytes` a multiple of IO_ALIGN, as taken or less. */
int scratch_read(const struct scratch *s, void *to, uint64_t bytes, uint64_t offset);
int scratch_write(const struct scratch *s, const void *from, uint64_t bytes, uint64_t offset);
const struct scratch_layout *scratch_layout(const struct scratch *s);
struct segment *scratch_segment(struct scratch *s, uint64_t i);

/* `bytes` (a multiple of IO_ALIGN) at the end of what is taken, all in memory or all in the file. ERR_FIT past the
 * limit or the disk. */
bool scratch_take(struct scratch *s, uint64_t bytes, uint64_t *offset, struct error *err);
/* Give [from, to) back to the file system, where it can do that; it counts for the limit no more. What is in memory
 * stays. Each byte once. */
void scratch_punch(struct scratch *s, uint64_t from, uint64_t to);
uint64_t scratch_bytes_taken(struct scratch *s);         /* where the file's cursor is: nothing lies behind it */
/* Is the run of bytes of what was taken, and all in memory or all in the file? An index that is damaged says anything. */
bool scratch_holds(struct scratch *s, uint64_t offset, uint64_t bytes);

/* Of the encoded bytes of block `number` (as its index counts) of a segment. */
uint32_t scratch_checksum(const void *data, uint64_t bytes, uint64_t segment, uint64_t number,
                          enum spill_encoding encoding);

/* Of an index. */
uint64_t scratch_sum(const void *data, uint64_t bytes);

/* The most blocks an extent can have, for slabs of one grid cut by buckets of another. */
uint64_t extent_blocks_max(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes);
/* The most cells of `cells` that a box of `boxes` touches. */
uint64_t cells_touched_max(const struct grid *boxes, const struct grid *cells);
/* stage_memory.index_bytes of any stage: a window into each segment that a task touches (`before` wrote them; NULL:
 * the source is no segments), and the index of the segment being written. */
uint64_t stage_index_bytes(const struct stage *stage, const struct stage *before, uint32_t item_bytes,
                           uint64_t block_bytes);
/* The same for a split of chunks and for a merge whose tasks are the buckets. */
uint64_t split_index_bytes(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes);
uint64_t merge_index_bytes(const struct grid *slabs, const struct grid *buckets, uint32_t item_bytes,
                           uint64_t block_bytes);
/* The window into one segment's index: the entries of one bucket at any place in it, and as many more as one
 * IO_ALIGN block holds. */
uint64_t index_window_bytes(uint64_t blocks_max);

#endif

/* resolve.c - from a job's words and an input's metadata to what the output will be, where, and within which limits.
 *
 * Every default is decided here, and says where it came from.
 */
#include "planner/planner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/io/os.h"

/* Longest chunk that c-blosc takes: BLOSC_MAX_BUFFERSIZE, and of LZ4: LZ4_MAX_INPUT_SIZE. */
#define BLOSC_CHUNK_BYTES_MAX ((uint64_t)INT32_MAX - 16)
#define LZ4_CHUNK_BYTES_MAX ((uint64_t)0x7E000000)

enum { PATH_TEXT_BYTES = 4096, ORIGIN_NAME_BYTES = 60 };

/* ---- format ---- */

static bool has_suffix(const char *path, const char *suffix)
{
    size_t length = path_length(path), suffix_length = strlen(suffix);

    return length >= suffix_length && strncasecmp(path + length - suffix_length, suffix, suffix_length) == 0;
}

bool job_output_is_built(const struct job *job, struct error *err)
{
    static const char *const not_built[] = { ".zip", ".nc", ".nc4", ".h5", ".hdf5", ".n5" };

    for (unsigned i = 0; i < sizeof not_built / sizeof not_built[0]; i++) {
        if (!has_suffix(job->output.path, not_built[i]))
            continue;
        if (job->output.format_set && strcmp(not_built[i], ".zip") != 0) {
            error_at(err, ERR_USAGE, job->output.format_span, "%s contradicts the suffix of '%s'",
                     format_name(job->output.format), job->output.path);
            error_key(err, "output.format");
        } else {
            error_at(err, ERR_USAGE, job->output.span, "an output '%s' is not built yet", not_built[i]);
            error_key(err, "output.path");
        }
        error_help(err, "give a directory: OUT.zarr");
        return false;
    }
    return true;
}

bool resolve_format(const struct job *job, enum format_kind source_format, enum format_kind *format,
                    struct error *err)
{
    if (!job_output_is_built(job, err))
        return false;
    *format = job->output.format_set ? job->output.format : source_format;
    return true;
}

/* ---- target ---- */

/* Zarr v2 knows C and F order only; another one becomes C. */
static bool order_is_reverse(const struct codec_chain *c, unsigned rank)
{
    for (unsigned i = 0; i < rank; i++)
        if (c->order[i] != rank - 1 - i)
            return false;
    return true;
}

static bool resolve_codecs(struct array_meta *target, const struct array_meta *source, const struct job *job,
                           struct text *warnings, struct error *err)
{
    struct codec_chain *c = &target->codecs;
    unsigned rank = source->chunks.rank;

    *c = source->codecs;
    if (target->format == FORMAT_ZARR2 && c->transposed && !order_is_reverse(c, rank)) {
        for (unsigned i = 0; i < rank; i++)
            c->order[i] = (uint8_t)i;
        c->transposed = false;
        text_add(warnings, "the input stores its axes in another order, which zarr2 cannot: the output is in C order\n");
    }
    if (job->output.codec) {
        if (!codec_chain_from_text(c, job->output.codec, target->dtype.item_bytes, err)) {
            error_locate(err, job->output.codec_span);
            error_key(err, "output.codec");
            return false;
        }
        return true;
    }
    for (unsigned i = 0; i < c->count; i++)
        if (c->codecs[i].kind == CODEC_BLOSC)
            c->codecs[i].typesize = target->dtype.item_bytes;
    return true;
}

static bool check_chunk_bytes(const struct array_meta *target, const struct job *job, struct error *err)
{
    uint64_t bytes = array_chunk_bytes(target);

    for (unsigned i = 0; i < target->codecs.count; i++) {
        enum codec_kind kind = target->codecs.codecs[i].kind;
        uint64_t bytes_max = kind == CODEC_BLOSC ? BLOSC_CHUNK_BYTES_MAX
                             : kind == CODEC_LZ4 ? LZ4_CHUNK_BYTES_MAX : UINT64_MAX;

        if (bytes <= bytes_max)
            continue;
        error_at(err, ERR_USAGE, job->output.chunks.span, "a chunk of %s is more than %s can take (%s)",
                 SIZE_TEXT(bytes), kind == CODEC_BLOSC ? "blosc" : "lz4", SIZE_TEXT(bytes_max));
        error_key(err, "output.chunks");
        error_help(err, "make the chunks smaller, or choose another codec (zstd:3)");
        return false;
    }
    return true;
}

static struct key_style keys_for(enum format_kind format, const struct array_meta *source)
{
    return format == source->format ? source->keys : key_style_default(format);
}

bool resolve_target(struct array_meta *target, const struct array_meta *source, const struct job *job,
                    struct text *warnings, struct text *notes, struct error *err)
{
    enum format_kind format;

    if (!resolve_format(job, source->format, &format, err))
        return false;
    if (!array_meta_copy(target, source, err))
        return false;
    target->format = format;
    target->keys = keys_for(format, source);
    if (!array_mask_carry(target, source->format, notes, err))
        return false;
    if (format == FORMAT_ZARR3 && source->fill_undefined) {
        target->fill_undefined = false;
        memset(target->fill, 0, sizeof target->fill);
        text_add(notes, "the input has no fill value, and zarr3 must have one: the output's is 0\n");
    }
    if (!chunks_resolve(&job->output.chunks, source, job->input.path, target->chunks.cell, err) ||
        !resolve_codecs(target, source, job, warnings, err) || !check_chunk_bytes(target, job, err))
        return false;
    if (!array_meta_writable(target, err)) {
        error_locate(err, job->output.codec ? job->output.codec_span
                          : job->output.format_set ? job->output.format_span : job->output.span);
        return false;
    }
    return true;
}

/* ---- places ---- */

bool resolve_output_place(const struct job *job, const struct store *source, struct error *err)
{
    int overlap;

    if (has_suffix(job->output.path, STAGING_SUFFIX) || has_suffix(job->output.path, ".sluice-scratch")) {
        error_at(err, ERR_USAGE, job->output.span, "'%s' is named like an unfinished output", job->output.path);
        error_help(err, "give it another name: what ends so is what a run keeps until it is done");
        return false;
    }
    overlap = store_paths_overlap(source, job->output.path);
    if (overlap < 0)
        return error_sys(err, -overlap, job->output.span, "cannot find out whether '%s' lies in the input",
                         job->output.path);
    if (overlap) {
        error_at(err, ERR_USAGE, job->output.span, "the output '%s' is, holds, or lies in the input '%s'",
                 job->output.path, job->input.path);
        error_key(err, "output.path");
        error_help(err, "write beside it, check the result, and then rename");
        return false;
    }
    return true;
}

bool resolve_output_free(const struct job *job, struct text *notes, struct error *err)
{
    struct stat st;

    if (os_fstatat(AT_FDCWD, job->output.path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return true;
    if (job->output.overwrite)
        return group_is_not_lost(job->output.path, job->output.span, err);
    if (job->start == START_NOT) {
        text_addf(notes, "'%s' is already there: a run will refuse to write it without overwrite: true (--overwrite)\n",
                  job->output.path);
    } else {
        error_at(err, ERR_EXISTS, job->output.span, "'%s' is already there", job->output.path);
        error_key(err, "output.path");
        error_help(err, "remove it, or say overwrite: true (--overwrite)");
    }
    return job->start == START_NOT;
}

/* The directory part of `path`, and its last name. */
static void path_split(const char *path, char *directory, size_t directory_bytes, const char **name, int *name_length)
{
    size_t length = path_length(path), start;

    for (start = length; start > 0 && path[start - 1] != '/'; start--)
        ;
    *name = path + start;
    *name_length = (int)(length - start);
    if (start == 0)
        snprintf(directory, directory_bytes, ".");
    else
        snprintf(directory, directory_bytes, "%.*s", start == 1 ? 1 : (int)start - 1, path);
}

/* What tells apart two outputs of one name that share a scratch directory: FNV-1a of the output's absolute path. */
static uint32_t path_hash(const char *path)
{
    char here[PATH_TEXT_BYTES] = "";
    uint32_t hash = 2166136261u;

    if (path[0] != '/' && !getcwd(here, sizeof here))
        here[0] = '\0';
    for (const char *at = here; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (const char *at = path; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    return hash;
}

static bool resolve_scratch_path(struct plan *p, const struct job *job, struct error *err)
{
    char directory[PATH_TEXT_BYTES], tag[16] = "";
    const char *name;
    struct stat st;
    int name_length, status;

    path_split(job->output.path, directory, sizeof directory, &name, &name_length);
    if (job->scratch_path) {
        status = os_fstatat(AT_FDCWD, job->scratch_path, &st, 0);
        if (status < 0 && status != -ENOENT && status != -ENOTDIR)
            return error_sys(err, -status, job->scratch_span, "cannot look at '%s'", job->scratch_path);
        if (status < 0 || !S_ISDIR(st.st_mode)) {
            error_at(err, ERR_USAGE, job->scratch_span, "'%s' is not a directory", job->scratch_path);
            error_key(err, "scratch.path");
            error_help(err, "scratch is one file in a directory that is there%s%s", status < 0 ? ": mkdir -p " : "",
                       status < 0 ? job->scratch_path : "");
            return false;
        }
        status = store_holds_directory(p->source_store, job->scratch_path);
        if (status < 0)
            return error_sys(err, -status, job->scratch_span, "cannot find out whether '%s' lies in the input",
                             job->scratch_path);
        if (status) {
            error_at(err, ERR_USAGE, job->scratch_span, "'%s' lies in the input, and inputs are never written to",
                     job->scratch_path);
            error_key(err, "scratch.path");
            error_help(err, "give another directory, or leave it out: then it is beside the output");
            return false;
        }
        snprintf(directory, sizeof directory, "%s", job->scratch_path);
        snprintf(tag, sizeof tag, ".%08x", path_hash(job->output.path));
        span_origin(&job->scratch_span, "--scratch", p->scratch_from, sizeof p->scratch_from);
    } else {
        snprintf(p->scratch_from, sizeof p->scratch_from, "beside the output");
    }
    if (asprintf(&p->scratch_path, "%s/%.*s%s.sluice-scratch", directory, name_length, name, tag) < 0) {
        p->scratch_path = NULL;
        return error_sys(err, ENOMEM, job->output.span, "the scratch file's name");
    }
    return true;
}

/* The nearest directory above `path` that is there already. -errno if even that cannot be opened, or is none. */
static int open_nearest_directory(const char *path)
{
    char directory[PATH_TEXT_BYTES], above[PATH_TEXT_BYTES];
    const char *name;
    int name_length, fd;

    path_split(path, directory, sizeof directory, &name, &name_length);
    for (;;) {
        fd = os_open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd != -ENOENT)
            return fd;
        path_split(directory, above, sizeof above, &name, &name_length);
        if (strcmp(above, directory) == 0)
            return fd;
        memcpy(directory, above, sizeof directory);
    }
}

static bool is_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Refused here, a run has not yet said what it would do. */
static bool check_writable(int fd, const struct job *job, struct error *err)
{
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    error_sys(err, errno, job->output.span, "nothing can be made in the directory of '%s'", job->output.path);
    error_key(err, "output.path");
    return false;
}

bool resolve_room(const struct plan *p, const struct job *job, const struct host *host, struct room *room,
                  struct error *err)
{
    uint64_t free_bytes, free_files;
    int fd = open_nearest_directory(job->output.path), status;

    *room = (struct room){ .scratch_free_bytes = UINT64_MAX, .target_free_bytes = UINT64_MAX,
                           .target_free_files = UINT64_MAX,
                           .memory_available_bytes = size_min(host->available_bytes, host->cgroup_limit_bytes) };
    if (fd < 0)
        return error_sys(err, -fd, job->output.span, "the directory of '%s'", job->output.path);
    if (!check_writable(fd, job, err)) {
        os_close(fd);
        return false;
    }
    status = os_space(fd, &free_bytes, &free_files);
    /* File systems that make inodes as they need them (btrfs) say 0. */
    if (status == 0 && free_files > 0)
        room->target_free_files = free_files;
    if (status == 0)
        room->target_free_bytes = free_bytes;
    os_close(fd);

    fd = open_nearest_directory(p->scratch_path);
    if (fd < 0)
        return error_sys(err, -fd, job->scratch_path ? job->scratch_span : job->output.span, "the directory of '%s'",
                         p->scratch_path);
    if (os_space(fd, &free_bytes, &free_files) == 0)
        room->scratch_free_bytes = free_bytes;
    room->scratch_is_memory = is_memory(fd);
    os_close(fd);
    return true;
}

/* ---- limits ---- */

bool span_is_in_file(const struct span *span)
{
    return span->source && strcmp(span->source->name, "command line") != 0;
}

void span_origin(const struct span *span, const char *flag, char *buffer, size_t buffer_bytes)
{
    if (span->set_name)
        snprintf(buffer, buffer_bytes, "--set %.60s", span->set_name);
    else if (span_is_in_file(span) && strlen(span->source->name) > ORIGIN_NAME_BYTES)
        snprintf(buffer, buffer_bytes, "...%s:%u",
                 span->source->name + strlen(span->source->name) - ORIGIN_NAME_BYTES, span->line);
    else if (span_is_in_file(span))
        snprintf(buffer, buffer_bytes, "%s:%u", span->source->name, span->line);
    else
        snprintf(buffer, buffer_bytes, "%s", flag);
}

void help_budget_unit(uint64_t asked_bytes, struct error *err)
{
    enum { PLAIN_MIB_MAX = 99999 };

    if (asked_bytes <= PLAIN_MIB_MAX)
        error_help(err, "did you mean %lluMiB?", (unsigned long long)asked_bytes);
}

bool plan_budget(uint64_t *bytes, const struct size_request *asked, const struct host *host, struct error *err)
{
    *bytes = asked->share > 0 ? (uint64_t)(asked->share * (double)host->available_bytes) : asked->bytes;
    if (*bytes <= host->cgroup_limit_bytes)
        return true;
    error_at(err, ERR_FIT, asked->span, "%s is more than this process may have: its cgroup allows %s",
             SIZE_TEXT(*bytes), SIZE_TEXT(host->cgroup_limit_bytes));
    error_key(err, "memory");
    error_bytes(err, *bytes, host->cgroup_limit_bytes);
    error_help(err, "lower memory to what the job was given, less about 50MiB for the kernel");
    return false;
}

static bool resolve_memory(struct plan *p, const struct job *job, const struct host *host, struct error *err)
{
    const struct size_request *r = &job->memory;
    char origin[ORIGIN_NAME_BYTES + 20];

    if (!r->set) {
        p->memory_bytes = host_default_budget(host);
        snprintf(p->memory_from, sizeof p->memory_from, "%s of %.70s (%s)", host->dedicated ? "80%" : "half",
                 host->available_from, SIZE_TEXT(host->available_bytes));
        return true;
    }
    span_origin(&r->span, "--memory", origin, sizeof origin);
    if (r->share > 0)
        snprintf(p->memory_from, sizeof p->memory_from, "%s, %.0f%% of %.70s", origin, r->share * 100,
                 host->available_from);
    else
        snprintf(p->memory_from, sizeof p->memory_from, "%s", origin);
    if (!plan_budget(&p->memory_bytes, r, host, err))
        return false;
    if (p->memory_bytes > host->available_bytes)
        text_addf(&p->warnings, "memory is %s, and there are %s now (%s): a run that uses it all may be killed, or slow "
                  "everything down\n", SIZE_TEXT(p->memory_bytes), SIZE_TEXT(host->available_bytes), host->available_from);
    return true;
}

bool resolve_limits(struct plan *p, const struct job *job, const struct host *host, struct error *err)
{
    if (!resolve_memory(p, job, host, err))
        return false;
    if (job->threads) {
        p->graph.threads = job->threads;
        span_origin(&job->threads_span, "--threads", p->threads_from, sizeof p->threads_from);
    } else {
        p->graph.threads = host->threads;
        snprintf(p->threads_from, sizeof p->threads_from, "%s", host->threads_from);
    }
    return resolve_scratch_path(p, job, err);
}

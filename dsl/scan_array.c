#include "dsl/scan_array.h"

#include <string.h>

#include "dsl/answer.h"
#include "dsl/pipeline.h"
#include "dsl/commands.h"
#include "engine/base/size.h"
#include "planner/host.h"
#include "planner/plan.h"

enum { WARNING_BYTES_MAX = 64 * 1024 };
/* Plans of one scan at most. */
enum { SCANS_MAX = 3 };

/* A reading pass needs little, so it takes little when nothing was said. */
#define SCAN_MEMORY_BYTES (256 * MIB)

bool array_file_open(struct array_file *a, const struct word *path, double seconds_max, struct error *err)
{
    struct text lines;

    *a = (struct array_file){ .path = path->text, .span = path->span };
    text_init(&a->warnings, WARNING_BYTES_MAX);
    if (!array_open(&a->store, &a->meta, path->text, path->span, &a->warnings, err))
        return false;
    if (!array_census_listed(&a->meta, a->store, seconds_max, &a->present, &a->census, err)) {
        error_locate(err, path->span);
        return false;
    }
    text_init(&lines, 2 * WARNING_BYTES_MAX);
    text_add_lines(&lines, "warning: ", a->warnings.chars);
    fputs(lines.chars, stderr);
    text_release(&lines);
    return true;
}

void array_file_release(struct array_file *a)
{
    array_meta_release(&a->meta);
    chunk_list_release(&a->present);
    store_close(a->store);
    text_release(&a->warnings);
    *a = (struct array_file){ 0 };
}

uint64_t array_file_bytes(const struct array_file *a)
{
    return size_mul_sat(shape_elements(a->meta.chunks.rank, a->meta.chunks.shape), a->meta.dtype.item_bytes);
}

bool scan_limits_read(struct scan_limits *limits, const struct command_line *line, const struct host *host,
                      struct error *err)
{
    struct pipeline p;
    const struct job *job = &p.job;
    bool ok;

    *limits = (struct scan_limits){ 0 };
    pipeline_init(&p);
    ok = pipeline_flags(&p, line, err) && io_choose(&limits->io, job->backend, err) &&
         progress_from_line(&limits->progress, line, err);
    limits->memory_span = job->memory.span;
    limits->threads = job->threads ? job->threads : host->threads;
    limits->memory_bytes = size_min(SCAN_MEMORY_BYTES, host_default_budget(host));
    ok = ok && (!job->memory.set || plan_budget(&limits->memory_bytes, &job->memory, host, err));
    pipeline_release(&p);
    return ok;
}

bool array_file_scan(struct scan *scan, struct array_file *a, const struct scan_limits *limits, struct error *err)
{
    *scan = (struct scan){ .array = &a->meta, .store = a->store, .span = a->span, .backend = limits->io.backend,
                           .seen = &a->seen, .present = a->census.listed ? &a->present : NULL };
    return plan_scan(scan, limits->memory_bytes, limits->threads, &a->census, limits->memory_span, err);
}

bool array_file_scan_roomy(struct scan *scan, struct array_file *a, const struct scan_limits *limits,
                           struct error *err)
{
    struct codec_sample sampled = a->census.codec;
    struct error ignored = { 0 };

    a->census.codec.blosc_block_bytes_max = (uint32_t)size_min(array_chunk_bytes(&a->meta), UINT32_MAX);
    a->census.codec.zstd_window_bytes_max = array_chunk_bytes(&a->meta);
    if (array_file_scan(scan, a, limits, &ignored))
        return true;
    a->census.codec = sampled;
    return array_file_scan(scan, a, limits, err);
}

bool array_file_digest(struct scan *scan, struct array_file *a, const struct scan_limits *limits,
                       const struct box *within, struct digest *digest, struct report *report,
                       const volatile int *stop, struct error *err)
{
    for (unsigned tries = 1; ; tries++) {
        if (scan_digest(scan, within, digest, report, stop, err))
            return true;
        if (tries == SCANS_MAX || err->code != ERR_FIT || !codec_sample_exceeds(&a->seen, &a->census.codec)) {
            if (err->code == ERR_INPUT && !err->input_changed)
                error_help(err, "sluice check --chunks %s lists all that are damaged or missing", a->path);
            return false;
        }
        *err = (struct error){ 0 };
        codec_sample_merge(&a->census.codec, &a->seen);
        if (!array_file_scan(scan, a, limits, err))
            return false;
    }
}

struct report *scan_report_new(const struct scan_limits *limits, uint64_t work_bytes)
{
    struct report_options o = { .progress = limits->progress, .to = stderr, .work_bytes = work_bytes,
                                .memory_limit_bytes = limits->memory_bytes };
    struct report *report = report_new(&o);

    if (report)
        report_start(report);
    return report;
}

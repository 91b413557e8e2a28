/* digest: one fingerprint of an array's values.
 *
 * The frame's fill is zero, not the array's: the same values must give the same digest when only the fill value, or
 * which chunks are there, differs. The dtype and the shape are part of the answer because the bytes alone are not.
 */
#include <string.h>

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scan_array.h"

static bool scan_whole(struct array_file *a, const struct scan_limits *limits, struct digest_sum *total,
                       const volatile int *stop, struct error *err)
{
    static const uint8_t zero[ITEM_BYTES_MAX];
    struct digest_frame frame;
    struct digest digest;
    struct report *report;
    struct scan scan;
    bool ok;

    if (!array_file_scan(&scan, a, limits, err))
        return false;
    digest_frame_init(&frame, a->meta.dtype, a->meta.chunks.rank, a->meta.chunks.shape, zero, 1);
    if (!digest_init(&digest, &frame))
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the digest");
    report = scan_report_new(limits, array_file_bytes(a));
    ok = array_file_digest(&scan, a, limits, NULL, &digest, report, stop, err);
    report_free(report);
    *total = digest_total(&digest);
    digest_release(&digest);
    return ok;
}

static void add_digest(const struct array_file *a, const struct digest_sum *sum, bool json, struct text *out)
{
    char hex[33];

    snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)sum->d1, (unsigned long long)sum->d2);
    if (json) {
        text_add(out, "{\"schema\": 1, ");
        answer_json_text(out, "digest", hex);
        answer_json_text(out, "dtype", dtype_name(a->meta.dtype));
        answer_json_text(out, "path", a->path);
        text_addf(out, "\"elements\": %llu, \"shape\": ", (unsigned long long)sum->elements);
        answer_shape_json(out, a->meta.chunks.rank, a->meta.chunks.shape);
        text_add(out, "}\n");
        return;
    }
    text_addf(out, "%s  %s ", hex, dtype_name(a->meta.dtype));
    answer_shape(out, a->meta.chunks.rank, a->meta.chunks.shape);
    text_addf(out, "  %s\n", a->path);
}

int cmd_digest(struct invocation *v, struct error *err)
{
    struct scan_limits limits;
    struct digest_sum sum;
    struct array_file a;
    struct host host;
    struct text out;

    host_look(&host, NULL);
    text_init(&out, ANSWER_BYTES_MAX);
    if (array_file_open(&a, &v->line->positionals[0], 1, err) && scan_limits_read(&limits, v->line, &host, err) &&
        scan_whole(&a, &limits, &sum, heed_stop(v), err)) {
        add_digest(&a, &sum, wants_json(v->line), &out);
        answer_print(&out, err);
    }
    array_file_release(&a);
    text_release(&out);
    return 0;
}

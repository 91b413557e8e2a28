/* check: is a pipeline right, and would it fit? With --chunks IN: is every chunk of an array whole? */

#include "dsl/answer.h"
#include "dsl/commands.h"
#include "dsl/scan_array.h"
#include "dsl/session.h"

static void add_verdict(const struct session *s, bool json, struct text *out)
{
    const struct plan *plan = &s->plan;
    struct text file;

    if (json) {
        text_init(&file, ANSWER_BYTES_MAX / 4);
        pipeline_emit(s->pipeline, &file);
        text_add(out, "{\"schema\": 1, \"ok\": true, ");
        answer_json_text(out, "plan", plan->candidates[plan->chosen].name);
        text_add(out, "\"warnings\": ");
        text_add_json_lines(out, plan->warnings.chars);
        text_add(out, ", \"notes\": ");
        text_add_json_lines(out, plan->notes.chars);
        text_addf(out, ", \"minimum_bytes\": %llu, \"memory_bytes\": %llu, \"pipeline\": ",
                  (unsigned long long)plan->minimum_bytes, (unsigned long long)plan->memory_bytes);
        text_add_json_string(out, file.chars);
        text_add(out, "}\n");
        text_release(&file);
        return;
    }
    text_addf(out, "right: %s, in %s (%s); the least it runs in is %s\n", plan->candidates[plan->chosen].name,
              SIZE_TEXT(plan->memory_bytes), plan->memory_from,
              SIZE_TEXT_WITHIN(plan->minimum_bytes, plan->memory_bytes));
}

static bool check_pipeline(const struct invocation *v, struct error *err)
{
    bool json = wants_json(v->line), ok;
    struct session session;
    struct text out;

    text_init(&out, ANSWER_BYTES_MAX);
    ok = session_from_line(&session, v, true, err);
    if (ok) {
        text_add_lines(&out, "warning: ", session.plan.warnings.chars);
        text_add_lines(&out, "note: ", session.plan.notes.chars);
        fputs(out.chars, stderr);
        text_clear(&out);
        add_verdict(&session, json, &out);
        ok = answer_print(&out, err);
    }
    session_release(&session);
    text_release(&out);
    return ok;
}

enum { FINDINGS_BYTES_MAX = 4 << 20 };

/* What --chunks found. Lines for people are written as they are found: a list of ten million chunks is not kept. A
 * JSON document is kept until it is whole, so it names what fits in its ceiling and counts the rest. */
struct findings {
    bool json;
    uint64_t damaged, missing;
    struct text damaged_list, missing_list;
};

static void add_finding(struct text *list, const struct text *entry)
{
    if (list->length + entry->length + 2 > FINDINGS_BYTES_MAX)
        return;
    text_add(list, list->length ? ", " : "");
    text_add_bytes(list, entry->chars, entry->length);
}

static void on_damaged(void *context, const char *key, const struct error *why)
{
    struct findings *f = context;
    struct text entry;

    f->damaged++;
    if (!f->json) {
        printf("damaged %s: %s\n", key, why->message);
        return;
    }
    text_init(&entry, 8192);
    text_add(&entry, "{");
    answer_json_text(&entry, "chunk", key);
    text_add(&entry, "\"why\": ");
    text_add_json_string(&entry, why->message);
    text_add(&entry, "}");
    add_finding(&f->damaged_list, &entry);
    text_release(&entry);
}

static void on_missing(struct findings *f, const char *key)
{
    struct text entry;

    f->missing++;
    if (!f->json) {
        printf("missing %s\n", key);
        return;
    }
    text_init(&entry, 8192);
    text_add_json_string(&entry, key);
    add_finding(&f->missing_list, &entry);
    text_release(&entry);
}

/* Keys of chunks that are not there. The census knows how many, and which if few are there; else each key is tried. */
static bool list_missing(const struct array_file *a, struct findings *f, const volatile int *stop, struct error *err)
{
    struct chunk_place place;
    struct object object;
    uint64_t coords[RANK_MAX];

    if (a->census.counted && a->census.present == a->census.chunks)
        return true;
    for (uint64_t i = 0; i < a->census.chunks; i++) {
        struct error strange = { 0 };   /* something else under that name: the scan said so already */

        if (stop_asked(stop))
            return error_stopped(err, stop_asked(stop));
        grid_coords(&a->meta.chunks, i, coords);
        if (a->census.listed && chunk_list_has(&a->present, i))
            continue;
        array_chunk_place(&a->meta, coords, &place);
        object.fd = -1;
        if (!a->census.listed && !store_object_open(a->store, place.key, &object, &strange))
            continue;
        if (object.fd >= 0)
            store_object_close(&object);
        else
            on_missing(f, place.key);
    }
    return true;
}

static bool scan_chunks(struct array_file *a, const struct scan_limits *limits, struct findings *f,
                        const volatile int *stop, struct error *err)
{
    struct digest_frame frame;
    struct digest digest;
    struct report *report;
    struct scan scan;
    bool ok;

    if (!array_file_scan_roomy(&scan, a, limits, err))
        return false;
    scan.damaged = on_damaged;
    scan.context = f;
    digest_frame_init(&frame, a->meta.dtype, a->meta.chunks.rank, a->meta.chunks.shape, a->meta.fill, 1);
    if (!digest_init(&digest, &frame))
        return error_at(err, ERR_FIT, SPAN_NONE, "no memory for the digest");
    report = scan_report_new(limits, array_file_bytes(a));
    ok = scan_digest(&scan, NULL, &digest, report, stop, err);
    report_free(report);
    digest_release(&digest);
    return ok && list_missing(a, f, stop, err);
}

static bool print_findings(const struct array_file *a, const struct findings *f, struct error *err)
{
    if (f->json)
        printf("{\"schema\": 1, \"chunks\": %llu, \"damaged_count\": %llu, \"missing_count\": %llu, "
               "\"damaged\": [%s], \"missing\": [%s]}\n", (unsigned long long)a->census.chunks,
               (unsigned long long)f->damaged, (unsigned long long)f->missing, f->damaged_list.chars,
               f->missing_list.chars);
    else
        printf("%s: %s damaged, %s missing\n", COUNTED_TEXT(a->census.chunks, "chunk"), COUNT_TEXT(f->damaged),
               COUNT_TEXT(f->missing));
    return answer_flush(err);
}

/* Damaged chunks are exit 4, as they are for a run. Missing ones are no damage: they read as fill. */
static int check_array(const struct command_line *line, const struct flag *flag, const volatile int *stop,
                       struct error *err)
{
    struct word path = { flag->words, flag->span };
    struct findings findings = { .json = wants_json(line) };
    struct scan_limits limits;
    struct array_file a;
    struct host host;

    host_look(&host, NULL);
    text_init(&findings.damaged_list, FINDINGS_BYTES_MAX);
    text_init(&findings.missing_list, FINDINGS_BYTES_MAX);
    if (array_file_open(&a, &path, 1, err) && scan_limits_read(&limits, line, &host, err) &&
        scan_chunks(&a, &limits, &findings, stop, err))
        print_findings(&a, &findings, err);
    array_file_release(&a);
    text_release(&findings.damaged_list);
    text_release(&findings.missing_list);
    return findings.damaged ? error_exit_status(ERR_INPUT) : 0;
}

int cmd_check(struct invocation *v, struct error *err)
{
    const struct command_line *line = v->line;
    const struct flag *chunks = command_line_flag(line, "--chunks");
    bool emit = command_line_flag(line, "--emit") != NULL;

    if (chunks && line->positional_count) {
        error_at(err, ERR_USAGE, line->positionals[0].span, "--chunks IN checks an array, not a pipeline");
        return 2;
    }
    if (chunks)
        return command_line_excludes(line, "--chunks IN", "--scratch --overwrite --set --emit --report", err)
            ? check_array(line, chunks, heed_stop(v), err) : 2;
    if (!line->positional_count) {
        error_at(err, ERR_USAGE, (struct span){ &line->source, 1, (uint32_t)line->source.text_bytes + 1, 1, NULL },
                 "give a pipeline file, or --chunks IN");
        return 2;
    }
    if (emit && !command_line_excludes(line, "--emit", "--report --progress", err))
        return 2;
    if (!pipeline_from_line(&v->pipeline, line, err) || !pipeline_finish(&v->pipeline, err))
        return 2;
    if (emit)
        print_pipeline(&v->pipeline, wants_json(line), err);
    else
        check_pipeline(v, err);
    return 0;
}

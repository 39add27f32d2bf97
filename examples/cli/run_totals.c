/* Sums of reports. */
#include "run_totals.h"

#include <stdlib.h>

#include "dial.h"
#include "json.h"
#include "messages.h"

const char *const stage_names[VMOE_STAGE_COUNT] = { "image",   "embed",   "attention", "mlp",
                                                    "routing", "experts", "head" };

static vmoe_status make_arrays(vmoe_report *report, const vmoe_info *info, vmoe_error *error)
{
    const vmoe_report empty = VMOE_REPORT_INIT;

    *report = empty;
    report->layers_length = info->moe_layers;
    report->load_length = (size_t)info->moe_layers * info->experts;
    if (info->moe_layers == 0)
        return VMOE_OK;
    report->layers = calloc(report->layers_length, sizeof *report->layers);
    report->load = calloc(report->load_length, sizeof *report->load);
    if (report->layers == NULL || report->load == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "report", "no memory for the report");
    return VMOE_OK;
}

vmoe_status run_totals_make(struct run_totals *totals, const vmoe_info *info, vmoe_error *error)
{
    totals->images = 0;
    totals->calls = 0;
    totals->experts = info->experts;
    if (make_arrays(&totals->call, info, error) != VMOE_OK)
        return error->status;
    return make_arrays(&totals->total, info, error);
}

void run_totals_free(struct run_totals *totals)
{
    free(totals->call.layers);
    free(totals->call.load);
    free(totals->total.layers);
    free(totals->total.load);
}

static void add_layers(vmoe_report *total, const vmoe_report *call)
{
    for (size_t i = 0; i < total->layers_length; i++) {
        vmoe_layer_report *to = &total->layers[i];
        const vmoe_layer_report *from = &call->layers[i];

        to->layer = from->layer;
        to->assigned += from->assigned;
        to->processed += from->processed;
        to->dropped += from->dropped;
        to->untouched += from->untouched;
    }
    for (size_t i = 0; i < total->load_length; i++)
        total->load[i] += call->load[i];
}

/* What all calls have in common, or 0: with groups of whole calls the last one may be smaller. */
static uint64_t common(const struct run_totals *totals, uint64_t before, uint64_t now)
{
    return totals->calls == 1 || before == now ? now : 0;
}

void run_totals_add(struct run_totals *totals, uint64_t images)
{
    vmoe_report *total = &totals->total;
    const vmoe_report *call = &totals->call;

    totals->images += images;
    totals->calls++;
    total->isa = call->isa;
    total->precision = call->precision;
    total->threads = call->threads;
    total->experts_per_token = call->experts_per_token;
    total->group_images = (uint32_t)common(totals, total->group_images, call->group_images);
    total->capacity = common(totals, total->capacity, call->capacity);
    total->groups += call->groups;
    total->assigned += call->assigned;
    total->processed += call->processed;
    total->dropped += call->dropped;
    total->untouched += call->untouched;
    total->macs += call->macs;
    total->macs_saved += call->macs_saved;
    total->weight_bytes += call->weight_bytes;
    for (int i = 0; i < VMOE_STAGE_COUNT; i++)
        total->seconds[i] += call->seconds[i];
    total->total_seconds += call->total_seconds;
    add_layers(total, call);
}

static void write_layers(struct json *json, const struct run_totals *totals)
{
    const vmoe_report *total = &totals->total;

    json_open(json, "layers", '[');
    for (size_t i = 0; i < total->layers_length; i++) {
        json_open(json, NULL, '{');
        json_count(json, "layer", total->layers[i].layer);
        json_count_or_null(json, "slots", total->capacity);
        json_count(json, "assigned", total->layers[i].assigned);
        json_count(json, "processed", total->layers[i].processed);
        json_count(json, "dropped", total->layers[i].dropped);
        json_count(json, "untouched", total->layers[i].untouched);
        json_open(json, "load", '[');
        for (size_t e = 0; e < totals->experts; e++)
            json_count(json, NULL, total->load[i * totals->experts + e]);
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* A model without experts has nothing of it. */
static void write_dial(struct json *json, const struct run_totals *totals, const vmoe_options *dial)
{
    const vmoe_report *total = &totals->total;
    const bool experts = totals->experts != 0;
    char order[WORD_BYTES];

    word_format(order, PRIORITIES, dial->priority);
    json_number_or_null(json, "capacity_ratio", dial->capacity);
    json_count_or_null(json, "slots", total->capacity);
    json_count_or_null(json, "experts_per_token", total->experts_per_token);
    json_count_or_null(json, "group_images", experts ? total->group_images : 0);
    json_text(json, "priority", experts ? order : NULL);
}

void run_totals_write(const struct run_totals *totals, const vmoe_options *dial, FILE *stream)
{
    const vmoe_report *total = &totals->total;
    const char *isa = vmoe_isa_name(total->isa);
    char precision[WORD_BYTES];
    struct json json = { stream, false };

    word_format(precision, PRECISIONS, total->precision);
    json_open(&json, NULL, '{');
    json_count(&json, "images", totals->images);
    json_count(&json, "calls", totals->calls);
    json_count(&json, "groups", total->groups);
    write_dial(&json, totals, dial);
    json_count(&json, "assigned", total->assigned);
    json_count(&json, "processed", total->processed);
    json_count(&json, "dropped", total->dropped);
    json_count(&json, "untouched", total->untouched);
    json_count(&json, "macs", total->macs - total->macs_saved);
    json_count(&json, "papers_macs", total->macs);
    json_count(&json, "weight_bytes", total->weight_bytes);
    json_text(&json, "isa", isa != NULL ? isa : "unknown");
    json_text(&json, "precision", precision);
    json_count(&json, "threads", total->threads);
    json_open(&json, "seconds", '{');
    for (int i = 0; i < VMOE_STAGE_COUNT; i++)
        json_number(&json, stage_names[i], total->seconds[i]);
    json_close(&json, '}');
    json_number(&json, "total_seconds", total->total_seconds);
    write_layers(&json, totals);
    json_close(&json, '}');
    putc('\n', stream);
}

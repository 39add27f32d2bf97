/* The call that is right in everything. */
#include "support/call.h"

#include <stdlib.h>

#include "support/support.h"
#include "support/tiny.h"

struct call call;

int call_make(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    call.model = make_model(&geometry, VMOE_PRECISION_F32);
    call.info = info_of(call.model);
    call.images = make_images(&geometry, 3);
    return 0;
}

int call_free(void **state)
{
    (void)state;
    free(call.images);
    vmoe_free(call.model);
    return 0;
}

int call_reset(void **state)
{
    const vmoe_input input = VMOE_INPUT_INIT;
    const vmoe_options options = VMOE_OPTIONS_INIT;
    const vmoe_output output = VMOE_OUTPUT_INIT;
    const vmoe_report report = VMOE_REPORT_INIT;

    (void)state;
    call.input = input;
    call.options = options;
    call.output = output;
    call.report = report;
    call.input.images = 2;
    call.input.tensor = call.images;
    call.input.length = 2 * image_values(&call.info);
    call.output.logits = call.logits;
    call.output.logits_length = 2 * 5;
    call.output.probabilities = call.probabilities;
    call.output.probabilities_length = 2 * 5;
    call.output.features = call.features;
    call.output.features_length = 2 * 12;
    call.output.member_logits = call.member_logits;
    call.output.member_logits_length = 2 * 5;
    call.output.top = call.top;
    call.output.top_count = 3;
    call.output.top_length = 2 * 3;
    call.output.report = &call.report;
    call.report.load = call.load;
    call.report.load_length = 2 * 4;
    call.report.layers = call.layers;
    call.report.layers_length = 2;
    call.report.routes = call.routes;
    call.report.routes_length = 2 * 2 * 10 * 2;
    return 0;
}

vmoe_status call_run(vmoe_error *error)
{
    return vmoe_run(call.model, &call.input, &call.options, &call.output, error);
}

void check_call_refused(vmoe_status expected, const char *where, const char *file, int line)
{
    vmoe_error error = VMOE_ERROR_INIT;

    check_refused(call_run(&error), &error, expected, where, file, line);
    assert_int_equal(call_run(NULL), expected);
    call_reset(NULL);
}

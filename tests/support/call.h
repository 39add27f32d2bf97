/* A correct call of two images of the tiny model, of which a test spoils one thing. */
#ifndef VMOE_TESTS_CALL_H
#define VMOE_TESTS_CALL_H

#include <vmoe.h>

struct call {
    vmoe_model *model;
    vmoe_info info;
    float *images; /* three of them */
    float logits[2 * 5], probabilities[2 * 5], features[2 * 12], member_logits[2 * 5];
    vmoe_class top[2 * 3];
    uint64_t load[2 * 4];
    vmoe_layer_report layers[2];
    int16_t routes[2 * 2 * 10 * 4];
    vmoe_input input;
    vmoe_options options;
    vmoe_output output;
    vmoe_report report;
};

extern struct call call;

/* For cmocka: the model is made once for a group of tests, the call before each. */
int call_make(void **state);
int call_free(void **state);
int call_reset(void **state);

vmoe_status call_run(vmoe_error *error);

/* The call is refused like this, with `error` NULL too; afterwards it is correct again. */
void check_call_refused(vmoe_status expected, const char *where, const char *file, int line);
#define assert_call_refused(expected, where) check_call_refused(expected, where, __FILE__, __LINE__)

#endif

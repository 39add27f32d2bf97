/*
 * The controller of examples/c/hold_deadline on machines that are made of numbers: it uses the time
 * that it has, answers late once when the machine becomes slower, and recovers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../examples/c/deadline.h"

/* A machine's time for a call. */
struct machine {
    double overhead, seconds_per_mac;
};

static double take(const struct machine *machine, const struct deadline *deadline, size_t rung)
{
    return machine->overhead + deadline->rungs[rung].macs * machine->seconds_per_mac;
}

/* Some calls; returns the last rung and counts those that were late. */
static size_t run(struct deadline *deadline, const struct machine *machine, size_t calls,
                  double seconds, size_t *late)
{
    size_t rung = DEADLINE_RUNGS;

    *late = 0;
    for (size_t i = 0; i < calls; i++) {
        rung = deadline_choose(deadline);
        *late += take(machine, deadline, rung) > seconds;
        deadline_learn(deadline, rung, take(machine, deadline, rung));
    }
    return rung;
}

/* V-MoE-B/16 on a machine that needs 100 ms for all of it. */
static struct deadline begin(double seconds, struct machine *machine)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct deadline deadline;

    assert_int_equal(
        vmoe_preset("vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012", &info, &error), VMOE_OK);
    assert_int_equal(deadline_begin(&deadline, &info, seconds, &error), VMOE_OK);
    *machine = (struct machine){ 0.0, 0.1 / deadline.rungs[0].macs };
    return deadline;
}

static void rungs_go_down(void **state)
{
    struct machine machine;
    const struct deadline deadline = begin(1.0, &machine);

    (void)state;
    for (size_t i = 1; i < DEADLINE_RUNGS; i++) {
        assert_true(deadline.rungs[i].capacity < deadline.rungs[i - 1].capacity);
        /* Not always less: where no pair is dropped, more slots cost nothing. */
        assert_true(deadline.rungs[i].macs <= deadline.rungs[i - 1].macs);
    }
    assert_true(deadline.rungs[DEADLINE_RUNGS - 1].macs < 0.7 * deadline.rungs[0].macs);
}

static void a_fast_machine_uses_the_whole_model(void **state)
{
    struct machine machine;
    struct deadline deadline = begin(0.2, &machine);
    size_t late;

    (void)state;
    assert_int_equal(deadline_choose(&deadline), DEADLINE_RUNGS - 1);
    assert_int_equal(run(&deadline, &machine, 2, 0.2, &late), 0);
    assert_int_equal(late, 0);
}

static void the_largest_capacity_that_fits_is_found(void **state)
{
    (void)state;
    for (size_t fitting = 0; fitting < DEADLINE_RUNGS; fitting++) {
        struct machine machine;
        struct deadline deadline = begin(0.1, &machine);
        size_t late, rung;

        machine.seconds_per_mac = 0.1 * DEADLINE_MARGIN / (1.001 * deadline.rungs[fitting].macs);
        rung = run(&deadline, &machine, 10, 0.1, &late);
        assert_true(deadline.rungs[rung].macs == deadline.rungs[fitting].macs);
        assert_int_equal(late, 0);
    }
}

static void overhead_does_not_make_it_late(void **state)
{
    struct machine machine;
    struct deadline deadline = begin(0.1, &machine);
    size_t late;

    (void)state;
    machine.overhead = 0.05;
    machine.seconds_per_mac *= 0.4;
    run(&deadline, &machine, 200, 0.1, &late);
    assert_int_equal(late, 0);
}

static void a_machine_that_becomes_busy_is_late_once(void **state)
{
    struct machine machine;
    struct deadline deadline = begin(0.13, &machine);
    const struct machine busy = { 0.0, 1.45 * machine.seconds_per_mac };
    size_t late;

    (void)state;
    assert_int_equal(run(&deadline, &machine, 5, 0.13, &late), 0);
    assert_int_not_equal(run(&deadline, &busy, 100, 0.13, &late), 0);
    assert_int_equal(late, 1);
    assert_int_equal(run(&deadline, &machine, 100, 0.13, &late), 0);
    assert_int_equal(late, 0);
}

static void a_hopeless_deadline_gets_the_cheapest_calls(void **state)
{
    struct machine machine;
    struct deadline deadline = begin(1e-6, &machine);
    size_t late;

    (void)state;
    assert_int_equal(run(&deadline, &machine, 50, 1e-6, &late), DEADLINE_RUNGS - 1);
    assert_int_equal(late, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rungs_go_down),
        cmocka_unit_test(a_fast_machine_uses_the_whole_model),
        cmocka_unit_test(the_largest_capacity_that_fits_is_found),
        cmocka_unit_test(overhead_does_not_make_it_late),
        cmocka_unit_test(a_machine_that_becomes_busy_is_late_once),
        cmocka_unit_test(a_hopeless_deadline_gets_the_cheapest_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Signals that end the command. */
#define _XOPEN_SOURCE 700
#include "interrupt.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "messages.h"

/* The number of the signal.  The library reads it from other threads, hence the atomic store. */
static int32_t came;

static void on_signal(int number)
{
    __atomic_store_n(&came, number, __ATOMIC_RELAXED);
}

const int32_t *interrupt_flag(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    static bool caught;
    struct sigaction action, before;

    if (caught)
        return &came;
    caught = true;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    return &came;
}

vmoe_status interrupt_check(vmoe_error *error)
{
    if (__atomic_load_n(&came, __ATOMIC_RELAXED) == 0)
        return VMOE_OK;
    return error_set(error, VMOE_ERR_CANCELLED, "signal", "the command was interrupted");
}

void interrupt_finish(void)
{
    if (came == 0)
        return;
    fflush(stdout); /* lines that are complete */
    signal(came, SIG_DFL);
    raise(came);
}

/*
 * Ctrl-C and the kinder forms of kill: work that is under way ends by itself, so that nothing
 * unfinished is left behind, and then the signal takes its course.
 */
#ifndef VMOE_CLI_INTERRUPT_H
#define VMOE_CLI_INTERRUPT_H

#include <stdint.h>
#include <vmoe.h>

/*
 * From now on such a signal makes the flag non-zero, for vmoe_options.cancel; a second one ends the
 * process at once.  Signals that were ignored, as nohup does, remain so.
 */
const int32_t *interrupt_flag(void);

/* VMOE_ERR_CANCELLED after such a signal, for what goes on without calling vmoe_run. */
vmoe_status interrupt_check(vmoe_error *error);

/* Ends the process by the signal that came; returns if none came. */
void interrupt_finish(void);

#endif

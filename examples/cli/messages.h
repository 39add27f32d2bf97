/*
 * What the command says to people: errors, usage mistakes, and text from files made safe to print.
 */
#ifndef VMOE_CLI_MESSAGES_H
#define VMOE_CLI_MESSAGES_H

#include <stdio.h>
#include <vmoe.h>

/* Fills `error` as the library does, with the end of a too long `where`; returns `status`. */
vmoe_status error_set(vmoe_error *error, vmoe_status status, const char *where, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* Says where an error was, if the caller knows better. */
void error_locate(vmoe_error *error, const char *where);

/* Puts the file's name in front of what in it was wrong, such as a tensor. */
void error_in_file(vmoe_error *error, const char *path);

/* error_set for VMOE_ERR_IO, with the reason that errno gives behind `what`. */
vmoe_status error_system(vmoe_error *error, const char *where, const char *what);

/* Writes what was printed to stdout so far; who cannot read on ends the command. */
vmoe_status output_flush(vmoe_error *error);

/* Prints the one line `vmoe: WHERE: TEXT` to stderr. */
void error_print(const char *where, const char *text);

/* Prints an error and returns the exit status that goes with it. */
enum { EXIT_WORKED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
int error_exit(const vmoe_error *error);

/* Prints text with every control character replaced by a question mark. */
void text_print(FILE *stream, const char *text);

/* A quantity with up to four digits and a decimal prefix, such as "23.14 GB". */
#define QUANTITY_BYTES 32
void quantity_format(char out[QUANTITY_BYTES], double value, const char *unit);

#endif

#!/bin/sh
# check_header.sh CC: vmoe.h compiles alone as C99, C11 and C++, its initialisers fit their structs, and
# its version is that of the VERSION file.
cc=${1:-cc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/checks.sh
. tests/checks.sh

cat >"$work/header.c" <<'END'
#include <vmoe.h>
int main(void)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_import_options import_options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_limits limits = VMOE_LIMITS_INIT;
    return (int)(error.status + load.flags + info.tokens + options.isa + input.reserved +
                 output.reserved + report.isa + cost.reserved + import_options.compact + limits.layers);
}
END

compiles() { # COMPILER FLAG...
    check "vmoe.h compiles: $*" "$@" -pedantic -Wall -Wextra -Werror -Iinclude -c "$work/header.c" \
        -o "$work/header.o"
}

# shellcheck disable=SC2086 # a compiler may come with options
{
    compiles $cc -std=c99
    compiles $cc -std=c11
    compiles $cc -std=c11 -Wconversion -Wundef
}
if command -v g++ >/dev/null; then
    compiles g++ -x c++ -std=c++11
    compiles g++ -x c++ -std=c++17
else
    skip "vmoe.h in C++" "g++ is not installed"
fi
header=$(sed -n 's/^#define VMOE_VERSION_[MP][A-Z]* \([0-9]*\)$/\1/p' include/vmoe.h | paste -sd.)
check "vmoe.h has the version of the file VERSION" [ "$header" = "$(cat VERSION)" ]
summary

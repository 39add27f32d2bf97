#!/bin/sh
# check_header.sh CC: vmoe.h compiles alone as C99, C11 and C++, its initialisers fit their structs, and
# its version is that of the VERSION file.
cc=${1:-cc}
passed=0 failed=0
source=$(mktemp /tmp/vmoe-header-XXXXXX.c) || exit 1
trap 'rm -f "$source" "$source.o"' EXIT

cat >"$source" <<'END'
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

try() {
    if "$@" -pedantic -Wall -Wextra -Werror -Iinclude -c "$source" -o "$source.o"; then
        passed=$((passed + 1))
    else
        echo "vmoe.h does not compile: $*"
        failed=$((failed + 1))
    fi
}
try "$cc" -std=c99
try "$cc" -std=c11
try "$cc" -std=c11 -m64 -Wconversion -Wundef
if command -v g++ >/dev/null; then
    try g++ -x c++ -std=c++11
    try g++ -x c++ -std=c++17
fi

header=$(sed -n 's/^#define VMOE_VERSION_[MP][A-Z]* \([0-9]*\)$/\1/p' include/vmoe.h | paste -sd.)
if [ "$header" = "$(cat VERSION)" ]; then
    passed=$((passed + 1))
else
    echo "vmoe.h says $header, VERSION says $(cat VERSION)"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

#!/bin/sh
# A file of lib/ includes headers of its own room or of a strictly lower rank; examples use the public
# header alone; file names are unique in lib/; only runtime/ includes headers of the operating system.
rank() {
    case $1 in
    runtime) echo 1 ;;
    kernels) echo 2 ;;
    model | routing) echo 3 ;;
    checkpoint | image | encoder) echo 4 ;;
    *) echo 5 ;;
    esac
}

passed=0 failed=0
wrong() { echo "$1"; failed=$((failed + 1)); }

for file in $(find lib -name '*.[ch]'); do
    before=$failed
    room=$(echo "$file" | cut -d/ -f2)
    for include in $(sed -n 's/^ *# *include "\([^"]*\)".*/\1/p' "$file"); do
        target=${include%%/*}
        [ -f "lib/$include" ] || wrong "$file includes \"$include\", which is not written as room/file.h"
        [ "$target" = "$room" ] || [ "$(rank "$target")" -lt "$(rank "$room")" ] ||
            [ "$(rank "$room")" -eq 5 ] || wrong "$file includes \"$include\" of a rank that is not lower"
    done
    if [ "$room" != runtime ] && grep -qE '^ *# *include <(unistd|fcntl|pthread|sched|signal|sys/.*)\.h>' "$file"; then
        wrong "$file includes a header of the operating system outside runtime/"
    fi
    [ "$failed" -gt "$before" ] || passed=$((passed + 1))
done
for file in $(find examples -name '*.[ch]'); do
    if grep -E '^ *# *include "' "$file" | grep -qE '(runtime|kernels|model|routing|checkpoint|image|encoder)/'; then
        wrong "$file includes an internal header"
    else
        passed=$((passed + 1))
    fi
done
for name in $(find lib -name '*.[ch]' -exec basename {} \; | sort | uniq -d); do
    wrong "the name $name is used twice in lib/"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

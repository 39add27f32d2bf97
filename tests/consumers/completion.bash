# completion.bash TREE: the installed completion offers the commands, the options and the words that
# the installed command knows.  Prints what differs.
tree=$1
PATH=$tree/bin:$PATH
source "$tree/share/bash-completion/completions/vmoe"
failed=0

# EXPECTED WORDS...: what is offered for the last word of a command line, one a line.
offers() {
    local expected=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _vmoe vmoe "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    diff <(sort <<<"$expected") <(printf '%s\n' "${COMPREPLY[@]}" | sort) || {
        echo "for: $*"
        failed=1
    }
}

commands=$(vmoe help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p')
[[ $commands == *classify* ]] || failed=1
offers "$commands"$'\nhelp\n--help\n--version' vmoe ""
offers "$commands"$'\nhelp' vmoe help ""
for command in $commands; do
    options=$(vmoe "$command" --help | sed '1,/^Options:/d; /^$/,$d' |
        grep -oE '^ +(-., )?--?[a-z-]+' | tr -d ', ' | sed 's/^\(-[a-zA-Z]\)--/\1\n--/')
    [[ $options == *--help* ]] || failed=1
    offers "$options" vmoe "$command" -
done
offers $'vanilla\nbpr-max\nbpr-sum' vmoe classify --priority ""
offers $'bpr-max\nbpr-sum' vmoe classify --priority = b
offers $'neon\nneon-dot\nneon-i8mm' vmoe bench --isa neon
offers "$(vmoe presets | grep ^vmoe_b16)" vmoe cost --preset vmoe_b16
offers "" vmoe classify -C ""
offers "" vmoe classify mod
exit "$failed"

# Completion of the vmoe command for bash: commands, options, and the words that an option takes.
#
# It asks the command itself, `vmoe help` and `vmoe COMMAND --help`, so it knows what that version
# knows.  Everything else, such as FILE or OUT.npy, is completed as the name of a file.

_vmoe_commands() # VMOE
{
    "$1" help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
    echo help
}

_vmoe_options() # VMOE COMMAND
{
    "$1" "$2" --help 2>/dev/null |
        sed -n 's/^  \(-.\), \(--[a-z-]*\).*/\1\n\2/p; s/^ \{6\}\(--[a-z-]*\).*/\1/p'
}

# The values of an option: what its help lists in small letters between bars; presets by their names.
_vmoe_values() # VMOE COMMAND OPTION
{
    local value
    value=$("$1" "$2" --help 2>/dev/null |
        awk -v option="$3" '/^ +-/ { print $1 == option ? $2 : $2 == option ? $3 : "" }')
    case $3,$value in
    --preset,*) "$1" presets 2>/dev/null ;;
    *\|*) tr '|' '\n' <<<"$value" | grep -v '[A-Z]' ;;
    esac
}

_vmoe()
{
    local vmoe=$1 word=$2 before=$3 command=${COMP_WORDS[1]} words=""

    # Bash cuts --name=value at the equals sign.
    if [[ $word == = ]]; then
        word=""
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    if ((COMP_CWORD == 1)); then
        words="$(_vmoe_commands "$vmoe") --help --version"
    elif [[ $command == help ]]; then
        words=$(_vmoe_commands "$vmoe")
    elif [[ $before == -* ]]; then
        words=$(_vmoe_values "$vmoe" "$command" "$before")
    fi
    if [[ -z $words && $word == -* ]]; then
        words=$(_vmoe_options "$vmoe" "$command")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -o bashdefault -o default -F _vmoe vmoe

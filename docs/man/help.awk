# Typesets what `vmoe COMMAND --help` prints, one command after the other, for vmoe(1).

/^Usage: vmoe / {
    close_block()
    command = $3
    sub(/^Usage: vmoe [^ ]+ */, "")
    print ".SS " command
    put(font("B", "vmoe " command) " " safe($0))
    next
}

/^Options:$/ {
    options = 1
    next
}

/^$/ {
    close_block()
    options = 0
    gap = 1
    next
}

# "-C, --capacity X   help"; the help may stand on the next line instead.
options && /^ +-/ {
    sub(/^ +/, "")
    gap = match($0, /   */)
    help = gap ? substr($0, gap + RLENGTH) : ""
    count = split(gap ? substr($0, 1, gap - 1) : $0, words, " ")
    out = ""
    for (i = 1; i <= count; i++)
        out = out (i > 1 ? " " : "") font(words[i] ~ /^-/ ? "B" : "I", words[i])
    print ".TP\n" out
    if (help != "")
        put(safe(help))
    next
}

options {
    sub(/^ +/, "")
    put(safe($0))
    next
}

/^  / {
    open_block()
    put(safe(substr($0, 3)))
    next
}

{
    close_block()
    if (gap)
        paragraph()
    gap = 0
    put(safe($0))
}

END {
    close_block()
}

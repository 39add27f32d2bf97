# Typesets vmoe.h, which is the manual of the library, for libvmoe(3): first the prose of its head
# comment, then for each "/* ---- Section ---- */" the declarations, with their comments below them.

# ---- The head comment ----

/^ \* INTRODUCTION$/ {
    head = 1
    next
}

head && /^ \*\/$/ {
    head = 0
}

head {
    sub(/^ \* ?/, "")
    head_line($0)
}

# Capitals are a heading, four spaces code, and below CONVENTIONS "Threads.  text" is an entry.
function head_line(line) {
    if (line == "") {
        gap = 1
        return
    }
    if (line ~ /^[A-Z]+$/) {
        close_block()
        heading(line)
        entries = line == "CONVENTIONS"
    } else if (entries && line ~ /^[A-Z][a-z ]+\.  /) {
        print ".TP\n" font("B", substr(line, 1, index(line, ".") - 1))
        put(spans(substr(line, index(line, ".  ") + 3)))
    } else if (!entries && line ~ /^    /) {
        if (block && gap)
            print ""
        open_block()
        put(safe(substr(line, 5)))
    } else {
        close_block()
        if (gap)
            paragraph()
        sub(/^ +/, "", line)
        put(spans(line))
    }
    gap = 0
}

# ---- Declarations ----

# A blank line ends a declaration, if it is none within braces or within a comment.
function finish(    i) {
    for (i = 1; i <= lines; i++) {
        open_block()
        put(safe(code[i]))
    }
    close_block()
    gap = 1
    for (i = 1; i <= remarks; i++)
        remark_line(remark[i])
    lines = remarks = 0
}

# Two spaces begin an entry of a list, "  name  text".
function remark_line(text) {
    if (text == "") {
        gap = 1
        return
    }
    if (text ~ /^  [a-z]+  /) {
        sub(/^ +/, "", text)
        print ".TP 12\n" font("B", substr(text, 1, index(text, " ") - 1))
        sub(/^[a-z]+ +/, "", text)
    } else if (gap) {
        paragraph()
    }
    gap = 0
    put(spans(text))
}

/^\/\* ---- / {
    finish()
    gsub(/^\/\* -+ | -+ \*\/$/, "")
    heading(toupper($0))
    next
}

# The first comment behind the preprocessor's business is about the version.
!started && /^\/\* / {
    started = 1
    heading("VERSION")
}

!started || /^#(ifdef|endif)/ || /^}$/ && !braces {
    next
}

in_remark || /^\/\*/ {
    in_remark = !/\*\/$/
    whole = $0 != "/*" && $0 != " */"
    gsub(/^\/\* ?|^ \* ?| ?\*\/$/, "")
    if (whole)
        remark[++remarks] = $0
    next
}

/^$/ && !braces {
    finish()
    next
}

{
    braces += gsub(/\{/, "{") - gsub(/\}/, "}")
    sub(/^VMOE_API /, "")
    code[++lines] = $0
}

END {
    finish()
}

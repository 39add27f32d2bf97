# Typesets the Markdown of docs/ for man(7): headings, paragraphs, lists, tables and fenced blocks.

# The last column takes the room that is left; long cells wrap.
function table_row(line,    cells, count, i, format, out) {
    gsub(/^\| *| *\|$/, "", line)
    count = split(line, cells, / *\| */)
    for (i = 1; i <= count; i++) {
        format = format (i < count ? "l " : "lx.")
        out = out (i > 1 ? "\t" : "") cell(cells[i])
    }
    if (!table) {
        paragraph()
        print ".TS\ntab(\t);\n" format
    }
    put(out)
    table = 1
}

function cell(text) {
    if (!table)
        return font("B", text)
    return length(text) > 24 ? "T{\n" spans(text) "\nT}" : spans(text)
}

function item(mark, text) {
    print ".IP " mark " 4"
    put(spans(text))
    gap = 0
}

# A list may hold another one.
function close_inner() {
    if (inner)
        print ".RE"
    inner = 0
}

function close_all() {
    if (table)
        print ".TE"
    table = list = 0
    close_inner()
    close_block()
}

/^```/ {
    fence = !fence
    if (fence)
        open_block()
    else
        close_block()
    next
}

fence {
    put(safe($0))
    next
}

/^# / {
    next
}

/^$/ {
    gap = 1
    next
}

/^## / {
    close_all()
    heading(toupper(safe(substr($0, 4))))
    gap = 0
    next
}

/^\|[-|]+$/ {
    next
}

/^\|/ {
    table_row($0)
    next
}

/^(-|[0-9]+\.) / {
    close_inner()
    mark = $1 == "-" ? "\\(bu" : $1
    sub(/^[^ ]+ /, "")
    item(mark, $0)
    list = 1
    next
}

list && /^ +- / {
    if (!inner)
        print ".RS 4"
    inner = 1
    sub(/^ +- /, "")
    item("\\(bu", $0)
    next
}

# A line that is not indented ends a list.
{
    if (!/^ /) {
        gap = gap || list || table
        close_all()
    }
    if (gap)
        paragraph()
    gap = 0
    sub(/^ +/, "")
    put(spans($0))
}

END {
    close_all()
}

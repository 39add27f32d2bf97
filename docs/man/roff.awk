# What the other awk files here share: text made safe for man(7), and the spans of Markdown.

# Backslashes and hyphens as themselves.
function safe(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return text
}

BEGIN {
    fresh = 1
}

# A heading; a paragraph that follows it needs no request of its own.
function heading(text) {
    print ".SH " text
    fresh = 1
}

function paragraph() {
    if (!fresh)
        print ".PP"
}

# A line of text, which must not look like a request of roff.
function put(text) {
    fresh = 0
    print (text ~ /^[.']/ ? "\\&" text : text)
}

function font(letter, text) {
    return "\\f" letter safe(text) "\\fR"
}

# `code` and **bold** become bold; of a [link](target) the text remains; \* is *.
function spans(text,    out, token) {
    out = ""
    while (match(text, /`[^`]+`|\*\*[^*]+\*\*|\[[^]]+\]\([^)]+\)|\\[*_]/)) {
        out = out safe(substr(text, 1, RSTART - 1))
        token = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (token ~ /^`/)
            out = out font("B", substr(token, 2, length(token) - 2))
        else if (token ~ /^\*/)
            out = out font("B", substr(token, 3, length(token) - 4))
        else if (token ~ /^\[/)
            out = out safe(substr(token, 2, index(token, "](") - 2))
        else
            out = out safe(substr(token, 2))
    }
    return out safe(text)
}

# What stands between these two is shown as it is, indented.
function open_block() {
    if (!block) {
        paragraph()
        print ".RS 4\n.nf"
    }
    block = 1
}

function close_block() {
    if (block)
        print ".fi\n.RE"
    block = 0
}

# Makes doxygen's comments of plain ones: a block belongs to what follows it, a comment behind code to
# the code.  The first comment is the page of the file, its words in capitals are headings.
NR == 1 { print "/** @file"; head = 1; next }
head && /^ \*\/$/ { head = 0 }
head && /^ \* [A-Z]+$/ { print " * ## " substr($2, 1, 1) tolower(substr($2, 2)); next }
/^\/\* ---- .* ---- *\*\/$/ || /^\/\* -----* / { print ""; next }
/^ *\/\*/ { sub(/\/\*/, "/**") }
/[;,{}0-9A-Za-z)] +\/\* / { sub(/\/\* /, "/**< ") }
{ print }

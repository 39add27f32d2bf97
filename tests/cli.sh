#!/bin/sh
#
# Black-box tests of the vmoe command: tests/cli.sh VMOE MODEL.vmoe
#
# MODEL.vmoe is the Fashion-MNIST model of examples/demo.  Prints one line a test and a summary.
# Golden data are those of tests/support/support.h; what needs some that are missing is skipped.

if [ $# -ne 2 ]; then
    echo "usage: tests/cli.sh VMOE MODEL.vmoe" >&2
    exit 2
fi
case $1 in /*) vmoe=$1 ;; *) vmoe=$PWD/$1 ;; esac
case $2 in /*) model=$2 ;; *) model=$PWD/$2 ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
golden=$root/tests/data/golden
[ ! -r "$root/../shared/golden/README.md" ] || golden=$root/../shared/golden
golden=${VMOE_GOLDEN:-$golden}
pictures=$root/examples/demo/pictures
boot=$pictures/ankle-boot.jpg
bag=$pictures/bag.jpg

# A Python with numpy, or none.
python=
for p in ${PYTHON:-} python3 /usr/bin/python3; do
    if "$p" -c 'import numpy' 2>/dev/null; then
        python=$p
        break
    fi
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# shellcheck source=tests/checks.sh
. "$root/tests/checks.sh"

refuse() { # NAME COMMAND...: the command fails
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then result 1 "$name"; else result 0 "$name"; fi
}

# What each exit status promises about the two streams.
streams_agree() { # STATUS
    case $1 in
    0) [ ! -s err ] ;;
    1) [ "$(wc -l <err)" -eq 1 ] && grep -q '^vmoe: ..*: ..*$' err ;;
    2) [ ! -s out ] && [ "$(wc -l <err)" -eq 2 ] && grep -q '^vmoe: ..*: ..*$' err &&
        sed -n 2p err | grep -q "^Try 'vmoe .*--help'\.$" ;;
    esac
}

expect() { # STATUS NAME ARGUMENTS...: vmoe ends with this status and keeps its streams apart
    want=$1
    name=$2
    shift 2
    "$vmoe" "$@" >out 2>err
    got=$?
    if [ $got -eq "$want" ] && streams_agree "$want"; then
        result 0 "$name"
    else
        result 1 "$name"
        echo "#   vmoe $*: status $got, expected $want"
        sed 's/^/#   out: /' out | head -n 5
        sed 's/^/#   err: /' err | head -n 5
    fi
}

prints() { # PATTERN: the latest output has such a line
    check "  it prints '$1'" grep -q -e "$1" out
}

complains() { # PATTERN
    check "  it complains '$1'" grep -q -e "$1" err
}

json() { # NAME EXPRESSION: true of `o`, the list of objects on the lines of `out`
    check "  the JSON has $1" python3 -c "
import json, sys
def number(text):
    raise ValueError(text)
o = [json.loads(line, parse_constant=number) for line in open('out', encoding='utf-8')]
sys.exit(not ($2))"
}

npy() { # NAME EXPRESSION: true with numpy as n and a(NAME) for the array in NAME.npy
    if [ -n "$python" ]; then
        check "  $1" "$python" -c "
import json, sys
import numpy as n
def a(name):
    return n.load(name + '.npy')
sys.exit(not ($2))"
    else
        skip "  $1" "no numpy"
    fi
}

# ---- The command as a whole --------------------------------------------------------------------

expect 0 "the version is shown" --version
prints '^vmoe [0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*$'
expect 0 "help lists the commands" help
for c in import info verify classify run sweep routes experts bench preprocess cost presets; do
    prints "^  $c "
done
expect 0 "--help is help" --help
expect 0 "-h is help" -h
for c in import info verify classify run sweep routes experts bench preprocess cost presets; do
    expect 0 "help $c" help $c
    prints "^Usage: vmoe $c"
    prints "^  vmoe $c"
    check "  no line is wider than 90 columns" awk 'length > 90 { exit 1 }' out
    cp out help.out
    expect 0 "$c --help" $c --help
    check "  it says the same as help $c" cmp out help.out
done
for c in import preprocess routes experts sweep; do
    expect 0 "help $c" help $c
    prints "^  -o, --out "
done
expect 0 "--help wins over missing operands" classify --top 3 --help
expect 2 "no command"
expect 2 "an unknown command" frobnicate
complains "unknown command 'frobnicate'"
expect 2 "help for an unknown command" help frobnicate
expect 2 "help for two commands" help info verify
expect 2 "an unknown global option" --frobnicate
expect 0 "presets are listed" presets
prints '^vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012$'
expect 2 "presets takes no operands" presets x

# ---- Options -----------------------------------------------------------------------------------

expect 2 "an unknown long option" info --frobnicate "$model"
complains "unknown option '--frobnicate'"
expect 2 "an unknown short option" info -x "$model"
expect 2 "a flag with a value" info --json=yes "$model"
expect 2 "an option without its value" classify "$model" "$boot" --top
expect 2 "a long name cut short" classify "$model" "$boot" --to 3
for value in -1 0 '' x 3x 1.5 +3 ' 3' 0x3 4294967296 99999999999999999999; do
    expect 2 "--top '$value'" classify "$model" "$boot" --top "$value"
done
for value in -1 0 '' x 1.5x nan inf 0x1p3 +1 ' 1' 1e999 1,5 1e -; do
    expect 2 "-C '$value'" classify "$model" "$boot" -C "$value"
done
expect 2 "-K 0" classify "$model" "$boot" -K 0
expect 2 "an unknown priority" classify "$model" "$boot" --priority bpr
expect 2 "an empty word" classify "$model" "$boot" --priority ''
expect 2 "two words at once" classify "$model" "$boot" --priority 'vanilla|bpr-max'
expect 2 "an unknown group" classify "$model" "$boot" --group some
expect 2 "group 0" classify "$model" "$boot" --group 0
expect 2 "an unknown capacity rule" classify "$model" "$boot" --capacity-rule floor
expect 2 "an unknown precision" classify "$model" "$boot" --precision f16
expect 2 "an unknown ISA" classify "$model" "$boot" --isa sse9
complains "option --isa: expected one that this machine has (ref[a-z0-9, -]*), found 'sse9'$"
sed -n "s/.*has (\(.*\)), found.*/\1/p" err | tr -d , >has.txt
expect 0 "help names the ISAs" help classify
prints '^ *--isa ref|avx2|avx512|.*|neon'
for isa in $(sed -n 's/^ *--isa //p' out | tr '|' ' '); do
    want=2
    ! tr ' ' '\n' <has.txt | grep -qxF -e "$isa" || want=0
    expect $want "--isa $isa" classify "$model" "$boot" --isa "$isa"
done
expect 2 "classify without a picture" classify "$model"
expect 2 "classify without anything" classify
expect 2 "info without a file" info
expect 2 "info with two files" info "$model" "$model"
expect 2 "verify without a file" verify
expect 2 "run without its output" run "$model" in.npy
expect 2 "run with four operands" run "$model" in.npy out.npy more
expect 2 "preprocess without --out" preprocess resize-28 "$boot"
expect 2 "import without --out" import source
expect 2 "import without a source" import -o file.vmoe
expect 2 "import with an unknown type" import source -o file.vmoe --dtype f16
expect 2 "import with an unknown preprocessing" import source -o file.vmoe --preprocess resize-
expect 2 "cost without a model" cost
expect 2 "cost with a file and a preset" cost "$model" --preset vmoe_b16_imagenet21k_randaug_strong
check "none of these wrote a file" sh -c '! ls *.vmoe *.npy *.tmp* 2>/dev/null'

expect 0 "options before the operands" classify --top 2 --json "$model" "$boot"
cp out first.out
for order in "$model --top=2 --json $boot" "$model $boot --json --top 2" \
    "--json $model $boot --top=2" "--json --top 7 --top 2 -- $model $boot"; do
    # The words are split on purpose.
    # shellcheck disable=SC2086
    expect 0 "options in another order" classify $order
    check "  the result is the same" cmp out first.out
done
expect 1 "behind -- everything is an operand" classify -- "$model" --top
complains '^vmoe: --top: '
expect 0 "a short option with its value attached" classify -C0.5 "$model" "$boot" --json
cp out first.out
expect 0 "the same with its long name" classify --capacity 0.5 "$model" "$boot" --json
check "  the result is the same" cmp out first.out

# ---- info and verify ---------------------------------------------------------------------------

expect 0 "info" info "$model"
prints '28 x 28 pixels'
expect 0 "info as JSON" info --json "$model"
check "  a JSON tool reads it" python3 -m json.tool out
json "the geometry" "o[0]['image_size'] == 28 and o[0]['tokens'] == 50 and o[0]['classes'] == 10 \
and o[0]['experts'] == 8 and o[0]['moe_layers'] == [1, 3, 5] and o[0]['capacity_ratio'] == 1.05 \
and o[0]['preprocessing'] == 'resize-28' and o[0]['labels'] is True and len(o[0]['id']) == 32"
expect 0 "verify" verify "$model"
prints ': ok$'
expect 1 "info on a missing file" info missing.vmoe
complains '^vmoe: missing.vmoe: '
expect 1 "verify on a missing file" verify missing.vmoe
: >empty.vmoe
head -c 1000 "$model" >short.vmoe
head -c 100000 "$model" >half.vmoe
head -c 4096 /dev/urandom >noise.vmoe
{ cat "$model"; echo; } >long.vmoe
# One flipped bit in the middle of the weights.
cp "$model" flipped.vmoe
chmod u+w flipped.vmoe
middle=$(($(wc -c <"$model") / 2))
byte=$(od -An -tu1 -j $middle -N 1 "$model" | tr -d ' ')
# shellcheck disable=SC2059
printf "\\$(printf %03o $((byte ^ 4)))" |
    dd of=flipped.vmoe bs=1 seek=$middle conv=notrunc 2>/dev/null
for bad in empty short half noise long flipped; do
    expect 1 "verify on a file that is $bad" verify $bad.vmoe
    complains "^vmoe: $bad.vmoe: "
    expect 1 "classify with a file that is $bad" classify $bad.vmoe "$boot"
    complains "^vmoe: $bad.vmoe: "
done
complains '^vmoe: flipped.vmoe: [a-z0-9_.]*: the [0-9]* bytes'
for bad in empty short noise; do
    expect 1 "info on a file that is $bad" info $bad.vmoe
done
expect 1 "a folder is not a model" info .
expect 1 "a name of several lines is complained about in one" info 'two
lines'

# ---- classify ----------------------------------------------------------------------------------

expect 0 "classify" classify --text "$model" "$boot"
prints '^  *[0-9][0-9]*\.[0-9] %  Ankle boot$'
check "  it shows five classes" test "$(wc -l <out)" -eq 6
check "  the best comes first" sh -c "sed -n 2p out | grep -q 'Ankle boot'"
expect 0 "classify with one class" classify --text "$model" "$boot" --top 1
check "  it shows one" test "$(wc -l <out)" -eq 2
expect 0 "several pictures are a table" classify --text "$model" "$boot" "$bag" "$bag"
check "  it has a row for each" test "$(wc -l <out)" -eq 3
prints 'bag.jpg  *Bag  *[0-9][0-9]*\.[0-9] %  [A-Z]'
check "  its columns are aligned" test "$(awk '{ print length }' out | sort -u | wc -l)" -eq 1
expect 0 "what is no terminal gets JSON" classify "$model" "$boot" "$bag"
json "two lines" "len(o) == 2 and len(o[0]['top']) == 5"
expect 2 "text and JSON at once" classify "$model" "$boot" --text --json
expect 0 "classify with more classes than there are" classify "$model" "$boot" --top 100 --json
json "all ten, which sum to 1" "len(o[0]['top']) == 10 and \
abs(sum(c['probability'] for c in o[0]['top']) - 1) < 1e-5"
json "them in order" "o[0]['top'] == sorted(o[0]['top'], key=lambda c: -c['probability'])"
expect 0 "classify all pictures" classify "$model" "$pictures"/*.jpg --top 1 --json
json "a line for each in order" "len(o) == 10 and \
[x['file'] for x in o] == sorted(x['file'] for x in o)"
json "the class that the file is named after, for nine of them at least" \
    "sum(x['top'][0]['label'].lower().replace(' ', '-').replace('/', '-') + '.jpg' == \
x['file'].split('/')[-1] for x in o) >= 9"
cp out all.out
expect 0 "one thread" classify "$model" "$pictures"/*.jpg --top 1 --json --threads 1
check "  the result is the same" cmp out all.out
expect 0 "one picture of them alone" classify "$model" "$bag" --top 1 --json
check "  the result is the same" sh -c 'grep -qxF "$(cat out)" all.out'
expect 0 "the portable instruction set" classify "$model" "$boot" --isa ref
LC_ALL=de_DE.UTF-8 "$vmoe" classify "$model" "$pictures"/*.jpg --top 1 --json >out 2>err
check "the locale changes nothing" cmp out all.out

many=
i=0
while [ $i -lt 15 ]; do
    many="$many $pictures/*.jpg"
    i=$((i + 1))
done
# shellcheck disable=SC2086
expect 0 "150 pictures, more than a slice" classify "$model" --top 1 --json $many
check "  150 lines" test "$(wc -l <out)" -eq 150
check "  the last ten are as when alone" sh -c 'tail -n 10 out | cmp - all.out'
# shellcheck disable=SC2086
expect 0 "150 pictures in groups of 10" classify "$model" --top 1 --json --group 10 -C 0.3 $many
sort -u out | wc -l >count
check "  every group gives the same" grep -qx ' *10' count
sed -n 141,150p out >group.out
expect 0 "one group of all" classify "$model" --top 1 --json --group all -C 0.3 "$pictures"/*.jpg
check "  the result is that of a group of 10" cmp out group.out
expect 2 "groups that do not fit" classify "$model" --group 3 "$pictures"/*.jpg
complains "option --group: 10 pictures cannot be cut into groups of 3; '--group image'"

for dial in "-C 0.2" "-K 1" "--priority bpr-max" "--priority bpr-sum" "--group image" "--group 1" \
    "--capacity-rule round" "--capacity-multiple 1" "--precision f32" "--precision bf16" \
    "--threads 2 -K 1 -C 0.3 --priority=bpr-max --capacity-multiple=1"; do
    # shellcheck disable=SC2086
    expect 0 "the dial at $dial" classify "$model" "$boot" $dial
done
expect 0 "-C 1e-6 leaves one slot" classify "$model" "$boot" -C 1e-6 --capacity-multiple 1
expect 2 "C above its limit" classify "$model" "$boot" -C 65
complains "option -C: expected a decimal number above 0 and at most 64, found '65'$"
expect 2 "C without a slot" classify "$model" "$boot" -C 1e-6 --capacity-multiple 1 --capacity-rule round
complains "option -C, --capacity: a ratio of 1e-06 gives an expert no slot"
expect 2 "K above its limit" classify "$model" "$boot" --experts-per-token=17
complains "option --experts-per-token: expected a whole number from 1 to 16, found '17'$"
expect 2 "too many threads" classify "$model" "$boot" --threads 257
complains "option --threads: expected a whole number from 1 to 256, found '257'$"
expect 2 "too large a multiple" classify "$model" "$boot" --capacity-multiple 4097
complains "option --capacity-multiple: expected a whole number from 1 to 4096, found '4097'$"
for words in "classify $model $boot" "routes $model $boot -o never.jpg" "bench $model --seconds 0.01" \
    "sweep $model --data albums" "experts $model --data albums" "cost $model"; do
    # shellcheck disable=SC2086
    expect 2 "${words%% *} with K above the number of experts" $words -K 9
    complains "option -K, --experts-per-token: a token cannot go to 9 experts"
done

expect 1 "a missing picture" classify "$model" missing.jpg
complains '^vmoe: missing.jpg: cannot open the file: '
json "the error" "len(o) == 1 and o[0]['file'] == 'missing.jpg' and 'cannot open' in o[0]['error']"
expect 1 "a missing picture, as text" classify --text "$model" missing.jpg
check "  it prints nothing" test ! -s out
echo "not a picture" >bad.jpg
expect 1 "a picture that is none" classify "$model" bad.jpg
complains '^vmoe: bad.jpg: '
head -c 300 "$boot" >cut.jpg
expect 1 "a picture cut short" classify "$model" cut.jpg
complains '^vmoe: cut.jpg: '
: >empty.jpg
expect 1 "an empty picture" classify "$model" empty.jpg
mkdir -p albums/empty albums/two/deeper albums/two/.hidden
cp "$boot" albums/two/B.JPG
cp "$bag" albums/two/deeper/a.jpeg
cp "$bag" albums/two/.hidden/c.jpg
echo text >albums/two/notes.txt
expect 1 "a folder without pictures" classify "$model" albums/empty
complains '^vmoe: albums/empty: the folder has no JPEG files'
expect 0 "a folder" classify --top 1 "$model" albums/two
json "its pictures, by name" "[p['file'] for p in o] == ['albums/two/B.JPG', 'albums/two/deeper/a.jpeg'] \
and [p['top'][0]['label'] for p in o] == ['Ankle boot', 'Bag']"
expect 0 "a folder and a file" classify --top 1 "$model" albums/two "$boot"
json "all three" "len(o) == 3"
expect 0 "a folder with a slash behind its name" classify --top 1 "$model" albums/two/
json "one slash" "[p['file'] for p in o] == ['albums/two/B.JPG', 'albums/two/deeper/a.jpeg']"
ln -s .. albums/two/deeper/up
ln -s "$work/albums" albums/two/top
ln -s ../two albums/two/again
expect 0 "links that lead back" classify --top 1 "$model" albums/two
json "every picture once" "[p['file'] for p in o] == ['albums/two/B.JPG', 'albums/two/deeper/a.jpeg']"
rm albums/two/deeper/up albums/two/top albums/two/again
deep=albums/deep$(yes /d | head -n 33 | tr -d '\n')
mkdir -p "$deep"
cp "$boot" "$deep"
expect 1 "a picture too deep in folders" classify "$model" albums/deep
complains 'it is 33 folders below the one to look in, the limit is 32$'
rm -r albums/deep
"$vmoe" classify "$model" - --top 1 <"$boot" >out 2>err
check "- is stdin" grep -q '"file": "-".*"label": "Ankle boot"' out
python3 -c "
import socket, subprocess
ours, theirs = socket.socketpair()
ours.sendall(open('$boot', 'rb').read())
ours.shutdown(socket.SHUT_WR)
subprocess.run(['$vmoe', 'classify', '$model', '-', '--top', '1'], stdin=theirs)" >out 2>err
check "- is stdin also as a socket" grep -q '"file": "-".*"label": "Ankle boot"' out
expect 1 "a bad one among good ones" classify "$model" --top 1 --json "$boot" bad.jpg "$bag"
complains '^vmoe: bad.jpg: '
json "the good ones and the bad one, in order" \
    "[p['file'] for p in o] == ['$boot', 'bad.jpg', '$bag'] and 'error' in o[1]"
"$vmoe" classify "$model" --top 1 bad.jpg "$boot" cut.jpg bad.jpg "$boot" "$bag" cut.jpg >out 2>err
json "bad ones everywhere, each in its place" \
    "[p['top'][0]['label'] if 'top' in p else p['file'] for p in o] == \
['bad.jpg', 'Ankle boot', 'cut.jpg', 'bad.jpg', 'Ankle boot', 'Bag', 'cut.jpg']"
expect 1 "a missing one among good ones" classify "$model" --top 1 --json missing.jpg "$bag"
json "the good one and the missing one" "len(o) == 2 and sum('error' in p for p in o) == 1"
expect 1 "a bad one in a group" classify "$model" --group 2 "$boot" bad.jpg
complains '^vmoe: bad.jpg: '
json "nothing of the group but the bad one" "len(o) == 1 and o[0]['file'] == 'bad.jpg' and o[0]['error']"
cp "$boot" 'q"u\o
te.jpg'
expect 0 "a file name that JSON must escape" classify "$model" --json 'q"u\o
te.jpg'
json "the name" "o[0]['file'] == 'q\"u\\\\o\\nte.jpg'"
expect 1 "a file name that a terminal would obey" classify "$model" "$(printf '\033[31m\302\2331m.jpg')"
complains '^vmoe: ?\[31m?1m.jpg: cannot open'
odd=$(printf 'caf\303\251-\351.jpg')
if cp "$boot" "$odd" 2>/dev/null; then
    expect 0 "a file name that is not UTF-8" classify "$model" --json "$odd"
    json "a replacement" "o[0]['file'] == 'caf\u00e9-\ufffd.jpg'"
fi
if [ -e /dev/stdin ]; then
    "$vmoe" classify "$model" /dev/stdin --top 1 <"$boot" >out 2>err
    check "a picture through a pipe" grep -q 'Ankle boot' out
fi

# ---- run ---------------------------------------------------------------------------------------

if [ -n "$python" ]; then
    "$python" - <<'END'
import numpy as n
r = n.random.default_rng(1)
u = r.integers(0, 256, (6, 28, 28, 3), dtype=n.uint8)
n.save('u8.npy', u)
n.save('f32.npy', u.astype(n.float32) / n.float32(255) * n.float32(2) - n.float32(1))
n.save('none.npy', u[:0])
n.save('f64.npy', u.astype(n.float64))
n.save('big.npy', u.astype('>f4'))
n.save('fortran.npy', n.asfortranarray(u))
n.save('flat.npy', u.reshape(6, -1))
n.save('small.npy', u[:, :27])
n.save('gray.npy', u[..., :1])
with open('v2.npy', 'wb') as f:
    n.lib.format.write_array(f, u, version=(2, 0))
b = open('u8.npy', 'rb').read()
open('short.npy', 'wb').write(b[:-1])
open('long.npy', 'wb').write(b + b'x')
open('cut.npy', 'wb').write(b[:60])
h = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%s, 28, 28, 3), }" % (b'9' * 18)
open('huge.npy', 'wb').write(b'\x93NUMPY\x01\x00' + bytes([118, 0]) + h.ljust(117) + b'\n')
END
    expect 0 "run on uint8" run "$model" u8.npy logits.npy
    check "  it prints nothing" test ! -s out
    npy "the result is float32 (6, 10) and finite" \
        "a('logits').dtype == n.float32 and a('logits').shape == (6, 10) and \
n.isfinite(a('logits')).all()"
    check "  its 240 bytes begin at a multiple of 64" \
        test $((($(wc -c <logits.npy) - 240) % 64)) -eq 0
    expect 0 "run on float32" run "$model" f32.npy logits2.npy
    check "  the result is the same" cmp logits.npy logits2.npy
    expect 0 "run on a version 2 header" run "$model" v2.npy logits2.npy
    check "  the result is the same" cmp logits.npy logits2.npy
    for batch in 1 4 6 100; do
        expect 0 "run with --batch $batch" run "$model" u8.npy logits2.npy --batch $batch
        check "  the result is the same" cmp logits.npy logits2.npy
    done
    expect 0 "run on no images" run "$model" none.npy logits2.npy --report report.json \
        --features features.npy
    cp report.json out
    json "a report without images" "o[0]['slots'] == 16 and o[0]['groups'] == 0 and \
[l['layer'] for l in o[0]['layers']] == [1, 3, 5]"
    npy "the results are empty" \
        "a('logits2').shape == (0, 10) and a('features').shape == (0, 96)"
    expect 0 "run with all outputs" run "$model" u8.npy logits2.npy --features features.npy \
        --report report.json -C 0.3 --priority bpr-max --capacity-multiple 1 --threads 2
    npy "the features are float32 (6, 96)" \
        "a('features').dtype == n.float32 and a('features').shape == (6, 96)"
    cp report.json out
    check "  a JSON tool reads the report" python3 -m json.tool report.json
    json "the setting" "o[0]['slots'] == 4 and o[0]['capacity_ratio'] == 0.3 and o[0]['experts_per_token'] == 2 and \
o[0]['group_images'] == 1 and o[0]['priority'] == 'bpr-max' and o[0]['threads'] == 2 and \
o[0]['precision'] == ('bf16' if o[0]['isa'] in ('avx512-bf16', 'amx') else 'f32')"
    json "keys that the manual tells" "all('\n.B %s\n' % k in open('$root/docs/man/vmoe.1.in').read() \
for k in list(o[0])[:13] if k != 'calls')"
    json "sums that add up" "o[0]['assigned'] == 6 * 50 * 2 * 3 and \
o[0]['processed'] + o[0]['dropped'] == o[0]['assigned'] and \
all(sum(l[k] for l in o[0]['layers']) == o[0][k] \
for k in ('assigned', 'processed', 'dropped', 'untouched'))"
    json "loads that add up" "[l['layer'] for l in o[0]['layers']] == [1, 3, 5] and \
all(len(l['load']) == 8 and sum(l['load']) == l['processed'] and l['slots'] == 4 \
for l in o[0]['layers'])"
    json "work and times" "0 < o[0]['macs'] < o[0]['papers_macs'] and o[0]['weight_bytes'] > 0 and \
set(o[0]['seconds']) == {'image', 'embed', 'attention', 'mlp', 'routing', 'experts', 'head'} and \
all(s >= 0 for s in o[0]['seconds'].values())"
    cp report.json one.json
    expect 0 "the same in calls of 4" run "$model" u8.npy logits3.npy --report report.json \
        --batch 4 -C 0.3 --priority bpr-max --capacity-multiple 1 --threads 2
    check "  the logits are the same" cmp logits2.npy logits3.npy
    cat one.json report.json >out
    json "the same sums" "o[1]['calls'] == 2 and \
all(o[0][k] == o[1][k] for k in \
('images', 'groups', 'assigned', 'processed', 'dropped', 'untouched', 'macs', 'papers_macs', 'layers'))"
    expect 0 "a group of all images" run "$model" u8.npy logits3.npy --group all -C 0.3 \
        --report report.json
    cp report.json out
    json "one group" "o[0]['groups'] == 1 and o[0]['group_images'] == 6"
    for batch in 3 4; do
        expect 0 "calls of $batch that are groups" run "$model" u8.npy logits3.npy --group all -C 0.3 \
            --batch $batch --report $batch.json
    done
    cat 3.json 4.json >out
    json "slots and images of a group, where all have the same" "\
[(o[i]['groups'], o[i]['group_images'], o[i]['slots']) for i in (0, 1)] == [(2, 3, 12), (2, None, None)] and \
all(l['slots'] == o[i]['slots'] for i in (0, 1) for l in o[i]['layers'])"
    expect 2 "a group that does not fit" run "$model" u8.npy never.npy --group 4
    expect 2 "a batch that does not fit its group" run "$model" u8.npy never.npy --group 2 --batch 3
    for bad in f64 big fortran flat small gray short long cut huge missing; do
        expect 1 "run on an array that is $bad" run "$model" $bad.npy never.npy --report never.json
        complains "^vmoe: $bad.npy: "
    done
    expect 1 "run on a model as an array" run "$model" "$model" never.npy
    expect 1 "run on a device" run "$model" /dev/zero never.npy
    expect 1 "run into a missing folder" run "$model" u8.npy missing/never.npy
    expect 1 "run with features in a missing folder" run "$model" u8.npy never.npy \
        --features missing/x.npy
    expect 1 "run into a folder" run "$model" u8.npy .
    ln u8.npy again.npy
    for name in u8.npy ./u8.npy "$PWD/u8.npy" again.npy; do
        input=$name
        expect 2 "run into its input" run "$model" u8.npy "$input"
        complains "is read, so it cannot be written too"
    done
    cp "$model" own.vmoe
    expect 2 "run into its model" run own.vmoe u8.npy own.vmoe
    expect 2 "run with features into its input" run "$model" u8.npy never.npy --features u8.npy
    expect 2 "run with two results in one file" run "$model" u8.npy never.npy --features ./never.npy
    complains "is to be written for two results"
    expect 2 "run with a report in another result" run "$model" u8.npy logits.npy --report logits.npy
    expect 0 "run with results of one name in two folders" run "$model" u8.npy logits2.npy \
        --features albums/logits2.npy
    check "no failure left a file" sh -c '! ls never* *.tmp* 2>/dev/null'
    if [ -c /dev/full ]; then
        expect 1 "run into a device" run "$model" u8.npy /dev/full
        check "  the device is still one" test -c /dev/full
    fi
    ln -s logits2.npy link.npy
    cp logits.npy logits2.npy
    expect 0 "run into a link" run "$model" u8.npy link.npy -K 1
    check "  it stays a link" test -h link.npy
    refuse "  its target was replaced" cmp logits.npy logits2.npy
    umask 027
    expect 0 "run with a umask" run "$model" u8.npy mask.npy
    umask 022
    check "  the mode follows it" sh -c 'ls -l mask.npy | grep -q "^-rw-r-----"'
    chmod 600 mask.npy
    expect 0 "run into a private file" run "$model" u8.npy mask.npy
    check "  it stays private" sh -c 'ls -l mask.npy | grep -q "^-rw-------"'
else
    skip "run" "no numpy"
fi

# ---- preprocess --------------------------------------------------------------------------------

expect 0 "preprocess by model" preprocess "$model" "$boot" -o a.npy
check "  it prints nothing" test ! -s out
expect 0 "preprocess by name" preprocess resize-28 "$boot" --out=b.npy
check "  the result is the same" cmp a.npy b.npy
npy "it is uint8 (1, 28, 28, 3)" "a('a').dtype == n.uint8 and a('a').shape == (1, 28, 28, 3)"
expect 0 "preprocess with a crop" preprocess -o c.npy small-30-crop-24 "$boot"
npy "it is float32 (1, 24, 24, 3) in -1..1" \
    "a('c').dtype == n.float32 and a('c').shape == (1, 24, 24, 3) and \
-1 <= a('c').min() < a('c').max() <= 1"
long=$(printf '%0250d.npy' 7)
expect 0 "preprocess to a name as long as the system allows" preprocess "$model" "$boot" -o "$long"
check "  the array is there" cmp a.npy "$long"
rm -f "$long"
# While a picture is waited for, the temporary file is there: 100 bytes would end in a character.
letter=$(printf '\303\251')
long=x$(printf '%0100d' 0 | sed "s/0/$letter/g")
mkfifo late.jpg
exec 3<>late.jpg
"$vmoe" preprocess "$model" late.jpg -o "$long" >out 2>err 3>&- &
late=$!
while ! ls ./*.tmp-* >name 2>/dev/null && kill -0 $late 2>/dev/null; do sleep 0.01; done
cat "$boot" >&3
exec 3>&-
wait $late
check "a temporary name cuts no character" grep -qx "\./x\($letter\)\{49\}\.tmp-......" name
check "  and the picture comes in time" cmp a.npy "$long"
rm -f late.jpg "$long"
expect 0 "preprocess of several pictures" preprocess "$model" "$boot" albums/two -o d.npy
npy "they are one array" "a('d').shape == (3, 28, 28, 3) and (a('d')[:1] == a('a')).all()"
expect 1 "preprocess with a bad one among good ones" preprocess "$model" "$boot" bad.jpg -o never.npy
complains '^vmoe: bad.jpg: '
expect 0 "import of a model with a crop" import "$golden/models/gap/model" -o crop.vmoe \
    --preprocess small-30-crop-24
if [ -n "$python" ]; then
    for file in "$model" crop.vmoe; do
        "$vmoe" preprocess "$file" "$boot" "$bag" -o seen.npy
        expect 0 "preprocessed pictures can be run, ${file##*/}" run "$file" seen.npy seen.logits.npy
        expect 0 "  classify sees the same" classify "$file" "$boot" "$bag" --top 100 --json
        npy "  the answers are the same" "all(abs(p['probability'] - q) < 1e-6 \
for line, logits in zip(open('out'), n.exp(a('seen.logits'))) \
for p in json.loads(line)['top'] for q in [logits[p['index']] / logits.sum()])"
    done
    expect 1 "run refuses a picture of the other model" run "$model" seen.npy never.npy
    complains 'expected an array of shape (N, 28, 28, 3), found (2, 24, 24, 3)$'
    "$python" -c "
import numpy as n
n.save('wide.npy', n.concatenate([n.load('f32.npy'), n.load('u8.npy').astype(n.float32)]))
n.save('odd.npy', n.full((1, 28, 28, 3), -3, n.float32))"
    expect 1 "run refuses float32 in 0..255" run "$model" wide.npy never.npy --batch 5
    complains '^vmoe: wide.npy: image 6 has the value [0-9]*; float32 must be in -1..1'
    expect 0 "run takes another normalisation" run "$model" odd.npy odd.logits.npy
fi
cp "$boot" input.jpg
expect 2 "preprocess into its input" preprocess resize-28 "$bag" input.jpg -o ./input.jpg
expect 2 "routes into its input" routes "$model" input.jpg -o input.jpg
check "  the input is as before" cmp "$boot" input.jpg
expect 1 "preprocess by something that is neither" preprocess resize-0 "$boot" -o never.npy
expect 1 "preprocess beyond the limit" preprocess resize-99999 "$boot" -o never.npy
expect 1 "a crop larger than the side" preprocess small-32-crop-40 "$boot" -o never.npy
expect 1 "preprocess of a bad picture" preprocess resize-28 bad.jpg -o never.npy
complains '^vmoe: bad.jpg: '
expect 1 "preprocess of a missing picture" preprocess resize-28 missing.jpg -o never.npy
check "no failure left a file" sh -c '! ls never* *.tmp* 2>/dev/null'
for image in "$golden"/preprocess/*.jpg; do
    name=$(basename "$image" .jpg)
    for want in "$golden/preprocess/$name".r*.npy "$golden/preprocess/$name".s*.npy; do
        [ -e "$want" ] || continue
        spec=$(basename "$want" .npy)
        spec=$(echo "${spec##*.}" | sed 's/^r/resize-/; s/^s\([0-9]*\)c/small-\1-crop-/')
        "$vmoe" preprocess "$spec" "$image" -o got.npy 2>err
        npy "$spec of $name is as TensorFlow has it" "(lambda want: (a('got')[0] == (want \
if want.dtype == n.uint8 else want / n.float32(255) * n.float32(2) - n.float32(1))).all())(n.load('$want'))"
    done
done

# ---- cost --------------------------------------------------------------------------------------

expect 0 "cost of a file" cost "$model"
prints 'this setting'
prints 'the dense ViT'
expect 0 "cost of a single slot" cost "$model" -C 0.01 --capacity-multiple 1
prints 'each of the 8 experts has 1 slot in a group$'
expect 0 "cost as JSON" cost "$model" --json -K 1 -C 0.5
json "the setting" "o[0]['experts_per_token'] == 1 and o[0]['capacity_ratio'] == 0.5 and \
o[0]['slots'] == 4 and o[0]['images'] == 1"
json "keys that the manual tells" "all('\n.B %s\n' % k in open('$root/docs/man/vmoe.1.in').read() for k in o[0])"
json "costs in order" "0 < o[0]['macs'] < o[0]['papers_macs'] <= o[0]['papers_macs_padded'] and \
0 < o[0]['macs_dense'] < o[0]['papers_macs_dense'] and \
o[0]['weight_bytes'] > 0 and o[0]['workspace_bytes'] > 0"
expect 0 "cost of ten images" cost "$model" --json --images 10
cp out ten.out
expect 0 "cost of one" cost "$model" --json
cat out >>ten.out
cp ten.out out
json "ten times the work" "o[0]['macs'] == 10 * o[1]['macs']"
expect 0 "cost of a preset" cost --json -C 1.5 --group 8 \
    --preset vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012
json "the known cost of B/16 at 384 pixels" "abs(o[0]['papers_macs_padded'] / 8e9 - 88.2) < 0.5 and \
abs(o[0]['papers_macs_dense'] / 8e9 - 55.5) < 0.5"
for name in $("$vmoe" presets); do
    expect 0 "cost of $name" cost --preset "$name"
done
expect 2 "cost of an unknown preset" cost --preset nonesuch
complains "option --preset: there is no preset 'nonesuch'; 'vmoe presets' lists them$"
expect 1 "cost of a missing file" cost missing.vmoe
expect 2 "cost beyond the limits" cost "$model" -C 65

# ---- ensembles ---------------------------------------------------------------------------------

# The shipped model, its 8 experts shared out among two members.
if [ -n "$python" ]; then
    check "an ensemble" "$python" - "$model" ensemble.vmoe "$root/tests" <<'END'
import sys
sys.path.insert(0, sys.argv[3])
import vmoe_builder
data = bytearray(open(sys.argv[1], "rb").read())
data[64 + 88] = 2
vmoe_builder.sign(data)
open(sys.argv[2], "wb").write(data)
END
    expect 0 "  its info" info ensemble.vmoe
    prints '^ensemble       2 members with 4 experts each$'
    expect 0 "  its info as JSON" info --json ensemble.vmoe
    json "the members" "o[0]['members'] == 2 and o[0]['experts'] == 8"
    expect 0 "  its cost" cost ensemble.vmoe --json
    cp out both.out
    expect 0 "  the cost of a plain model" cost "$model" --json
    cat out >>both.out
    cp both.out out
    json "most of the work twice" "1.5 < o[0]['macs'] / o[1]['macs'] < 2 and \
o[0]['macs_dense'] == o[1]['macs_dense']"
    expect 0 "  its classes" classify ensemble.vmoe "$boot" -K 4
    expect 2 "  K above the experts of a member" classify ensemble.vmoe "$boot" -K 5
    complains 'a member of the ensemble has 4'
    expect 0 "  its routes" routes ensemble.vmoe "$boot" -o ensemble.ppm
    expect 0 "  the routes of the plain model" routes "$model" "$boot" -o plain.ppm
    check "  a panel for each member" test "$(wc -c <ensemble.ppm)" -gt "$(wc -c <plain.ppm)"
    expect 0 "  its members" run ensemble.vmoe u8.npy logits2.npy --member-logits members.npy \
        --features features.npy
    npy "the logits of members are float32 (6, 2, 10)" \
        "a('members').dtype == n.float32 and a('members').shape == (6, 2, 10)"
    npy "their probabilities have the ensemble's as mean" \
        "(lambda p: n.allclose(p(a('members')).mean(1), p(a('logits2')), atol=1e-6) and \
abs(p(a('members'))[:, 0] - p(a('members'))[:, 1]).max() > 0.01)\
(lambda x: n.exp(x) / n.exp(x).sum(-1, keepdims=True))"
    cp members.npy whole.npy
    expect 0 "  the same in calls of 4" run ensemble.vmoe u8.npy logits3.npy --batch 4 \
        --member-logits members.npy
    check "  their logits are the same" cmp whole.npy members.npy
    expect 0 "  no images" run ensemble.vmoe none.npy logits3.npy --member-logits members.npy
    npy "the logits of members are empty" "a('members').shape == (0, 2, 10)"
    expect 2 "  the logits of members in the file of features" run ensemble.vmoe u8.npy never.npy \
        --features never2.npy --member-logits never2.npy
    complains "is to be written for two results"
    expect 1 "  the logits of members in a missing folder" run ensemble.vmoe u8.npy never.npy \
        --features never2.npy --member-logits missing/x.npy
    expect 1 "  a report in a missing folder" run ensemble.vmoe u8.npy never.npy \
        --member-logits never2.npy --report missing/x.json
    expect 2 "the members of a plain model" run "$model" u8.npy never.npy --member-logits never2.npy
    complains "option --member-logits: expected an ensemble, found a model with one member"
    check "no failure left a file" sh -c '! ls never* *.tmp* 2>/dev/null'
else
    skip "an ensemble" "no numpy"
fi

# ---- import ------------------------------------------------------------------------------------

source=$golden/models/gap/model
expect 0 "import" import "$source" -o gap.vmoe
check "  it prints nothing" test ! -s out
expect 0 "  what it wrote is sound" verify gap.vmoe
expect 0 "  what it wrote has the defaults" info --json gap.vmoe
json "the defaults" "o[0]['precision'] == 'bf16' and not o[0]['compact'] and \
o[0]['experts_per_token'] == 2 and o[0]['capacity_ratio'] == 1.05 and \
o[0]['capacity_rule'] == 'ceil' and o[0]['capacity_multiple'] == 4 and \
o[0]['group_images'] == 1 and o[0]['gelu'] == 'tanh' and \
o[0]['output'] == 'softmax' and o[0]['labels'] is False"
classes=$(python3 -c "import json; print(json.load(open('out'))['classes'])")
i=0
while [ $i -lt "$classes" ]; do
    i=$((i + 1))
    printf 'Klasse %s \303\266\r\n' $i
done >labels.txt
expect 0 "import with everything" import --dtype=f32 --compress "$source" \
    --experts-per-token 1 --capacity 0.75 --capacity-rule round --capacity-multiple 1 \
    --group-images 2 --gelu erf \
    --output sigmoid --preprocess small-30-crop-24 --labels labels.txt -o all.vmoe
expect 0 "  what it wrote is sound" verify all.vmoe
expect 0 "  what it wrote has these settings" info --json all.vmoe
json "the settings" "o[0]['precision'] == 'f32' and o[0]['compact'] and \
o[0]['experts_per_token'] == 1 and o[0]['capacity_ratio'] == 0.75 and \
o[0]['capacity_rule'] == 'round' and o[0]['capacity_multiple'] == 1 and \
o[0]['group_images'] == 2 and o[0]['gelu'] == 'erf' and \
o[0]['output'] == 'sigmoid' and o[0]['labels'] and o[0]['preprocessing'] == 'small-30-crop-24'"
expect 0 "labels are shown" classify --text all.vmoe "$boot" "$bag" --top 1
prints "$(printf 'Klasse [0-9]* \303\266  *[0-9]')"
expect 2 "a picture that fills no group of the file" classify all.vmoe "$boot"
complains "1 picture cannot be cut into groups of 2, which the model file asks for; '--group image' routes"
expect 0 "a picture in a group of its own" classify all.vmoe "$boot" --group image
{ printf '\357\273\277' && cat labels.txt; } >mark.txt
expect 0 "import with a byte order mark" import "$source" --labels mark.txt -o mark.vmoe
expect 0 "  the label" classify mark.vmoe "$boot" --top 10000
json "no mark in it" "[k['label'] for k in o[0]['top'] if k['index'] == 0] == \
[open('labels.txt', encoding='utf-8').readline().rstrip()]"
expect 0 "import to int8" import "$source" --dtype int8 -o int8.vmoe
expect 0 "import replaces a file" import "$source" --dtype f32 -o int8.vmoe
expect 0 "import for larger pictures" import "$source" --image-size 48 -o large.vmoe
expect 0 "  it takes them" info --json large.vmoe
json "the image size" "o[0]['image_size'] == 48"
cp int8.vmoe before.vmoe
expect 1 "import of nothing" import missing -o int8.vmoe
expect 1 "import with a missing label file" import "$source" -o int8.vmoe --labels missing.txt
complains '^vmoe: missing.txt: '
head -n 2 labels.txt >few.txt
expect 1 "import with too few labels" import "$source" -o int8.vmoe --labels few.txt
complains '^vmoe: few.txt: '
{ tr '\n' '\000' <labels.txt; } >zero.txt
expect 1 "import with zero bytes in labels" import "$source" -o int8.vmoe --labels zero.txt
expect 2 "import with an unknown preset" import "$source" -o int8.vmoe --preset nonesuch
complains "there is no preset 'nonesuch'; 'vmoe presets' lists them$"
expect 2 "import with the preset of an ensemble" import "$source" -o int8.vmoe \
    --preset eee_s32_last2_ilsvrc2012
complains 'is another model'
expect 2 "import with K above its limit" import "$source" -o int8.vmoe -K 99
expect 2 "import with K above the experts" import "$source" -o int8.vmoe -K 9
expect 2 "import beyond a limit" import "$source" -o int8.vmoe --image-size 5000
complains "option --image-size: the value is 5000, but 1 to 4096 is possible"
sed '2s/.*//' labels.txt >gap.txt
expect 1 "import with an empty label" import "$source" -o int8.vmoe --labels gap.txt
complains '^vmoe: gap.txt: labels\[1\]: a text is empty$'
: >none.txt
expect 1 "import with a file of no labels" import "$source" -o int8.vmoe --labels none.txt
complains '^vmoe: none.txt: there are no labels$'
check "failures leave the old file alone" cmp int8.vmoe before.vmoe
expect 1 "import into a missing folder" import "$source" -o missing/x.vmoe
if [ -c /dev/full ]; then
    expect 1 "import into a device" import "$source" -o /dev/full
    check "  the device is still one" test -c /dev/full
fi
check "no failure left a file" sh -c '! ls never* *.tmp* 2>/dev/null'
expect 2 "import into its source" import int8.vmoe -o ./int8.vmoe
mkdir own
cp "$source".index "$source".data-* own
chmod u+w own/*
ln -s own/model.index link.vmoe
for file in own/model.index ./own/../own/model.data-* link.vmoe; do
    expect 2 "import into its source, ${file##*/}" import own/model -o "$file"
    complains 'is read, so it cannot be written too$'
done
check "  it is as before" cmp own/model.index "$source.index"
expect 0 "import beside its source" import own/model -o own/model.vmoe
expect 2 "import into its labels" import "$source" -o labels.txt --labels labels.txt
check "  they are as before" grep -q Klasse labels.txt
if [ -r "$golden/dense/vit.npz" ]; then
    expect 0 "import of a .npz" import "$golden/dense/vit.npz" -o dense.vmoe --dtype f32
    expect 0 "a dense model" info dense.vmoe
    prints 'dense'
    "$vmoe" info --json dense.vmoe >out
    side=$(python3 -c "import json; print(json.load(open('out'))['image_size'])")
    expect 0 "a dense model classifies" classify dense.vmoe "$boot" -C 0.5 --json
    expect 0 "the cost of a dense model" cost dense.vmoe
    "$vmoe" info --json dense.vmoe >out
    json "no dial" "[o[0][k] for k in ('capacity_ratio', 'experts_per_token', 'group_images', \
'capacity_rule', 'capacity_multiple')] == [None] * 5"
    expect 0 "the cost of a dense model as JSON" cost dense.vmoe --json -C 0.5 -K 1
    json "no dial" "[o[0][k] for k in ('capacity_ratio', 'slots', 'experts_per_token', \
'group_images', 'capacity_rule', 'capacity_multiple')] == [None] * 6"
    expect 0 "the cost of a dense model with a thread" cost dense.vmoe --json --threads 1
    cp out threads.out
    expect 0 "the cost of a dense model with 64" cost dense.vmoe --json --threads 64
    cat out >>threads.out
    cp threads.out out
    json "more memory for more threads" "o[0]['workspace_bytes'] < o[1]['workspace_bytes']"
    expect 0 "bench of a dense model" bench dense.vmoe --json --seconds 0.01
    json "no dial" "[o[0][k] for k in ('capacity_ratio', 'slots', 'experts_per_token', \
'group_images')] == [None] * 4"
    if [ -n "$python" ]; then
        "$python" -c "
import numpy as n
n.save('dense.npy', n.zeros((2, $side, $side, 3), n.uint8))"
        expect 0 "run on a dense model" run dense.vmoe dense.npy logits.npy --report report.json -C 0.5
        cp report.json out
        json "no dial" "[o[0][k] for k in ('capacity_ratio', 'slots', 'experts_per_token', \
'group_images', 'priority')] == [None] * 5"
        json "no layers with experts" "o[0]['layers'] == [] and o[0]['assigned'] == 0"
        if [ -e "$golden/dense/images.npy" ]; then
            expect 0 "run on golden images" run dense.vmoe "$golden/dense/images.npy" logits.npy
            npy "the logits are the golden ones" \
                "n.abs(a('logits') - n.load('$golden/dense/logits.npy')).max() < 2e-5"
        fi
    fi
else
    skip "import of a dense model" "no golden data of one are here"
fi

# ---- Output that cannot be written -------------------------------------------------------------

unlimited=$vmoe
vmoe=$work/limited
printf '#!/bin/sh\nulimit -f 16 && exec "%s" "$@"\n' "$unlimited" >"$vmoe"
chmod +x "$vmoe"
expect 1 "preprocess into a file that may not grow" preprocess resize-256 "$boot" bad.jpg -o never.npy
complains 'never.npy: cannot write the file: File too large$'
vmoe=$unlimited
check "  no file is left" sh -c '! ls never* 2>/dev/null'
if [ -c /dev/full ]; then
    for line in "--version" "help" "help cost" "presets" "info $model" "info --json $model" \
        "verify $model" "classify $model $boot" "classify --json $model $boot" "cost $model" \
        "bench --json --seconds 0.01 $model"; do
        # shellcheck disable=SC2086
        "$vmoe" $line >/dev/full 2>err
        status=$?
        : >out
        check "vmoe ${line%% /*} into a full disk" test $status -eq 1
        check "  it complains in one line" streams_agree 1
        complains 'standard output: cannot write: No space left on device$'
    done
    # shellcheck disable=SC2046
    "$vmoe" classify "$model" $(yes "$boot" | head -n 200) missing.jpg >/dev/full 2>err
    check "classify ends with the disk" sh -c '! grep -q missing err'
fi
"$vmoe" info "$model" >&- 2>err
check "a closed stdout is a failure" test $? -eq 1

summary

#!/bin/sh
# check_pictures.sh VMOE MODEL PYTHON: sweep, routes, experts and bench say what can be counted from
# other commands, their pictures are pictures, and mistakes are told.
vmoe=$PWD/$1 model=$PWD/$2 python=$3
pictures=$PWD/examples/demo/pictures
gap=$PWD/tests/data/golden/models/gap/model # 9 classes, a single block with experts
work=$PWD/${1%/*}/command
builder=$PWD/tests
# shellcheck source=tests/checks.sh
. tests/checks.sh

rm -rf "$work"
mkdir -p "$work"
cd "$work" || exit 1

# A class for each picture, one of them by number, and two pictures in the wrong class.
for name in ankle-boot:9 bag:bag coat:Coat dress:Dress pullover:Pullover sandal:Sandal shirt:Shirt \
    sneaker:Sneaker t-shirt-top:0 trouser:Trouser; do
    mkdir -p "data/${name#*:}"
    cp "$pictures/${name%:*}.jpg" "data/${name#*:}"
done
cp "$pictures/bag.jpg" data/Coat/wrong.jpg
cp "$pictures/dress.jpg" data/9/wrong.JPEG

python_says() { # NAME CODE
    "$python" -c "import csv, json, re, struct, subprocess, sys
vmoe, model, root = '$vmoe', '$model', '$pictures'
def table(name): return list(csv.DictReader(open(name), delimiter='\t'))
def classify(*options):
    lines = subprocess.run([vmoe, 'classify', model, 'data', '--json', '--top', '1', *options],
                           capture_output=True, check=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]
labels = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag',
          'Ankle boot']
def label_of(file):
    folder = file.split('/')[1]
    return int(folder) if folder.isdigit() else [l.lower() for l in labels].index(folder.lower())
$2" >python.out 2>&1
    status=$?
    result $status "$1"
    [ $status -eq 0 ] || sed 's/^/#   /' python.out
}

refuses() { # STATUS WORDS ARGUMENT...
    expected=$1 words=$2
    shift 2
    "$vmoe" "$@" >out 2>err
    [ $? -eq "$expected" ] && [ ! -s out ] && grep -q -- "$words" err
}

# ---- sweep ----

check "sweep" "$vmoe" sweep "$model" --data data -C 0.2,1.05 -K 1,2 --priority vanilla,bpr-max -o swept
python_says "... counts what classify says" "
rows = table('swept.tsv')
assert len(rows) == 8
for row in rows:
    found = classify('-C', row['C'], '-K', row['K'], '--priority', row['priority'])
    right = sum(p['top'][0]['index'] == label_of(p['file']) for p in found)
    assert (int(row['images']), int(row['correct'])) == (12, right), row
    assert abs(float(row['accuracy_percent']) - 100 * right / 12) < 0.01
    assert float(row['ms_per_image']) > 0
"
python_says "... its work is that of a run" "
for row in table('swept.tsv'):
    cost = json.loads(subprocess.run([vmoe, 'cost', model, '--json', '-C', row['C'], '-K', row['K']],
                      capture_output=True, check=True, text=True).stdout)
    assert 0 < float(row['gmac_per_image']) * 1e9 <= cost['macs'] * 1.001, (row, cost)
    assert (float(row['dropped_percent']) > 30) == (row['C'] == '0.2'), row
"
check "... the curve is an SVG" "$python" -c "
import xml.etree.ElementTree as t
root = t.parse('swept.svg').getroot()
marks = [e for e in root if e.tag.endswith('path')]
assert len(marks) == 2 * 8 + 4, len(marks)"
check "... without -o it is a table" sh -c "'$vmoe' sweep '$model' --data data -C 1 | cut -f1-3 | tail -n 1 |
    grep -qx '1	2	bpr-max'"
"$vmoe" sweep "$model" --data data --pictures 1 -C 1 -K 1,2,3,4,5,6,7,8 --priority vanilla,bpr-max \
    -o lines
check "... a long legend has room" "$python" -c "
import re
svg = open('lines.svg').read()
height = float(re.search('height=.([0-9.]+)', svg)[1])
lines = [float(y) for y in re.findall(r'translate\([0-9.]+ ([0-9.]+)\)[^>]*>(?:bpr-max|vanilla), K', svg)]
assert len(lines) == 16 and max(lines) < height - 24, (lines, height)"
"$vmoe" sweep "$model" --data data --pictures 1 -C 4,0.1,1,0.3 --priority vanilla -o mixed
check "... a line follows C, whatever the order of the list" "$python" -c "
import re
marks = re.findall('<title>C = ([0-9.]+):', open('mixed.svg').read())
assert marks == 2 * ['0.1', '0.3', '1', '4'], marks
rows = [line.split('\t')[0] for line in open('mixed.tsv')]
assert rows == ['C', '4', '0.1', '1', '0.3'], rows"
# The two orders do almost the same work.
"$vmoe" sweep "$model" --data data --precision f32 -C 0.2 -o near
check "... ticks of numbers that are close have room" "$python" -c "
import re
work = open('near.svg').read().split('accuracy, %')[0]
ticks = re.findall('font-size=.12.>([0-9.]+)<', work)
assert len(ticks) > 4 and all(len(tick) <= 5 for tick in ticks), ticks"
# Ten pictures as idx files: the same answers as from their pixels.
python_says "idx files" "
import numpy
images = [subprocess.run([vmoe, 'preprocess', model, root + '/' + n + '.jpg', '-o', n + '.npy'], check=True)
          and numpy.load(n + '.npy')[0] for n in ('bag', 'coat', 'shirt')]
gray = numpy.stack([i[:, :, 0] for i in images]).astype('u1')
open('t10k-images-idx3-ubyte', 'wb').write(struct.pack('>IIII', 0x803, 3, 28, 28) + gray.tobytes())
open('t10k-labels-idx1-ubyte', 'wb').write(struct.pack('>II', 0x801, 3) + bytes([8, 4, 0]))
"
"$vmoe" sweep "$model" --data t10k-images-idx3-ubyte -C 1.05 --priority vanilla >idx.tsv
check "... two of three are right" sh -c "cut -f5,6 idx.tsv | tail -n 1 | grep -qx '3	2'"
mkdir idx
gzip -c t10k-images-idx3-ubyte >idx/t10k-images-idx3-ubyte.gz
gzip -c t10k-labels-idx1-ubyte >idx/t10k-labels-idx1-ubyte.gz
"$vmoe" sweep "$model" --data idx -C 1.05 --priority vanilla >folder.tsv
cut -f1-9 idx.tsv >idx.expected
check "... the same by their folder, packed" sh -c "cut -f1-9 folder.tsv | cmp - idx.expected"

check "a name with an ending" refuses 2 "without .svg or .tsv" sweep "$model" --data data -o swept.SVG
"$vmoe" sweep "$model" --data data -C 1 --priority vanilla --group 5 >grouped.tsv 2>err
result $? "pictures that fill no group"
check "... are told" grep -qx "vmoe: data: 2 of 12 pictures left out: they do not fill a group of 5" err
check "... and left out" sh -c "cut -f4,5 grouped.tsv | tail -n 1 | grep -qx '5	10'"
check "pictures that are not there" refuses 1 'no/such: cannot open the pictures: No such file' \
    sweep "$model" --data no/such
check "no name at all" refuses 2 "without .svg or .tsv, found ''" sweep "$model" --data data -o ''
check "pictures that fill no group at all" refuses 2 "12 pictures cannot fill a group of 13" \
    sweep "$model" --data data -C 1 --group 13
check "no data" refuses 2 "data is missing" sweep "$model"
check "a bad list" refuses 2 "at most 64, separated by commas, found 'x'$" \
    sweep "$model" --data data -C 1,x -K 0
check "... is the only one that is told" sh -c 'test $(wc -l <err) -eq 2'
check "a C that comes again" refuses 2 \
    "option --capacity: expected each value once, separated by commas, found '0.50'$" \
    sweep "$model" --data data -C 0.5,1,0.50
check "a K that comes again" refuses 2 "option --experts-per-token: .* found '1'$" \
    sweep "$model" --data data -K 1,2,1
check "a priority that comes again" refuses 2 "option --priority: .* found 'bpr-max'$" \
    sweep "$model" --data data --priority bpr-max,bpr-max
check "an empty list" refuses 2 "the list is empty" sweep "$model" --data data -C ''
mkdir -p unknown/giraffe
cp "$pictures/bag.jpg" unknown/giraffe
check "a folder of no class" refuses 1 "none of the 10 classes: 0 .. 9, or T-shirt-top, Trouser, " \
    sweep "$model" --data unknown
for name in T-shirt-top t-shirt_TOP 0; do
    mkdir -p "slash/$name"
    cp "$pictures/t-shirt-top.jpg" "slash/$name"
done
"$vmoe" sweep "$model" --data slash -C 1 --priority vanilla >slash.tsv
check "a label with a slash" sh -c "cut -f5,6 slash.tsv | tail -n 1 | grep -qx '3	3'"
check "data that are not there" refuses 1 "nowhere" sweep "$model" --data nowhere
mkdir -p nothing
check "a folder without classes" refuses 1 "no labelled pictures" sweep "$model" --data nothing
printf 'no picture' >data/Bag.jpg
cp -r data broken
printf 'no picture' >broken/bag/broken.jpg
"$vmoe" sweep "$model" --data broken -C 1 --priority vanilla >out 2>err
result $((! ($? == 1))) "a broken picture is told by the status"
check "... by a line" grep -q "^vmoe: broken/bag/broken.jpg: this is not a JPEG file" err
check "... and left out" sh -c "cut -f5 out | tail -n 1 | grep -qx 12"
for command in "sweep -o nowhere/swept" "experts -o nowhere/map.svg"; do
    # shellcheck disable=SC2086
    check "${command%% *} into no folder" refuses 1 "^vmoe: nowhere/.*: cannot create a file" \
        $command "$model" --data broken
    check "... is told before any picture is read" sh -c '! grep -q broken.jpg err'
done
head -c 100 t10k-images-idx3-ubyte >short-images-idx3-ubyte
cp t10k-labels-idx1-ubyte short-labels-idx1-ubyte
python_says "labels beyond the classes" "
open('beyond-images-idx3-ubyte', 'wb').write(struct.pack('>IIII', 0x803, 2, 28, 28) + bytes(2 * 784))
open('beyond-labels-idx1-ubyte', 'wb').write(struct.pack('>II', 0x801, 2) + bytes([9, 10]))
"
for command in sweep experts; do
    check "... are refused by $command" refuses 1 "label 1 is class 10, but the model's classes are 0 .. 9" \
        $command "$model" --data beyond-images-idx3-ubyte
done
check "an idx file cut short" refuses 1 "ends before its last" sweep "$model" --data short-images-idx3-ubyte

# ---- routes ----

check "routes" "$vmoe" routes "$model" "$pictures/bag.jpg" -o routes.ppm -C 0.3 --priority bpr-max
check "... the picture is not blank" "$python" -c "
data = open('routes.ppm', 'rb').read()
head, size, depth, pixels = data.split(b'\n', 3)
width, height = map(int, size.split())
assert head == b'P6' and len(pixels) == 3 * width * height
assert len(set(pixels[i:i + 3] for i in range(0, len(pixels), 3))) > 500"
check "... its numbers can be read" "$python" -c "
head, size, depth, pixels = open('routes.ppm', 'rb').read().split(b'\n', 3)
width, height = map(int, size.split())
def luminance(x, y):
    at = 3 * (width * y + x)
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 for v in pixels[at:at + 3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05
for expert in range(8):
    left, top = 24 + 44 * expert, height - 108
    box = luminance(left + 3, top + 3)
    ink = [luminance(x, y) for x in range(left + 3, left + 35) for y in range(top + 3, top + 21)]
    assert max(max(ink) / box, box / min(ink)) > 3, expert"
check "... as JPEG" "$vmoe" routes "$model" "$pictures/bag.jpg" -o routes.jpg
check "... which classify can read" sh -c "'$vmoe' classify '$model' routes.jpg --top 1 | grep -q label"
check "... by another name" refuses 2 "ends in .jpg or .ppm" routes "$model" "$pictures/bag.jpg" -o routes.gif
check "... nowhere" refuses 2 "-o is missing" routes "$model" "$pictures/bag.jpg"
check "... of no picture" refuses 1 "not a JPEG file" routes "$model" data/Bag.jpg -o none.jpg
check "... with too many experts" refuses 2 "9 experts" routes "$model" "$pictures/bag.jpg" -o none.jpg -K 9
check "... with a group" refuses 2 "unknown option '--group'" routes "$model" "$pictures/bag.jpg" -o none.jpg --group all
check "... leaves nothing then" [ ! -e none.jpg ]

"$vmoe" import "$gap" -o gap.vmoe
printf '%s\n' crane Crane heron HERON cat cat a/b a-b dog >twins.txt
"$vmoe" import "$gap" -o twins.vmoe --labels twins.txt
for name in crane:0 HERON:3 Dog:8; do
    mkdir -p "twins/${name%:*}" && cp "$pictures/bag.jpg" "twins/${name%:*}"
    check "labels that differ in case only, ${name%:*}" sh -c "'$vmoe' experts twins.vmoe --data twins |
        cut -f3 | grep -qx ${name#*:}"
done
for name in cRANE cat a-b; do
    mkdir -p "twin/$name" && cp "$pictures/bag.jpg" "twin/$name"
    check "a folder of two classes, $name" refuses 1 "name it by the number" experts twins.vmoe --data twin
    rm -r twin
done
for k in 1 2; do
    "$vmoe" routes gap.vmoe "$pictures/bag.jpg" -o narrow.ppm -K $k
    check "... no text of a narrow picture is cut off, K = $k" "$python" -c "
head, size, depth, pixels = open('narrow.ppm', 'rb').read().split(b'\n', 3)
width, height = map(int, size.split())
assert all(pixels[3 * (width * (y + 1) - 12):3 * width * (y + 1)] == b'\xff' * 36 for y in range(height))"
done
python_says "titles end before the next panel" "
sys.dont_write_bytecode = True
sys.path.insert(0, '$builder')
from vmoe_builder import build, make_config, random_tensors
config = make_config(experts=8, experts_per_token=8, image_size=224, patch_size=14, preprocessing_side=224,
                     layers=14, moe=[11, 13], capacity=8.0)
open('panels.vmoe', 'wb').write(build(config, random_tensors(config)))
subprocess.run([vmoe, 'routes', 'panels.vmoe', root + '/bag.jpg', '-o', 'panels.ppm'], check=True)
head, size, depth, pixels = open('panels.ppm', 'rb').read().split(b'\n', 3)
width = int(size.split()[0])
# Between two panels of 224 pixels are 24, 24 pixels from the left.
for y in range(80):
    assert pixels[3 * (width * y + 250):3 * (width * y + 270)] == b'\xff' * 60, y
"

# ---- experts ----

rm data/Bag.jpg
check "experts" sh -c "'$vmoe' experts '$model' --data data >experts.tsv"
"$vmoe" experts "$model" --data data -C 4 >all.tsv
python_says "... counts what a run reports, and choices that were dropped" "
rows = table('experts.tsv')
assert len(rows) == 3 * 8 * 10
files = [p['file'] for p in classify()]
subprocess.run([vmoe, 'preprocess', model, *files, '-o', 'all.npy'], check=True)
def chosen(rows, block, e):
    return sum(int(r['tokens']) for r in rows if (int(r['block']), int(r['expert'])) == (block, e))
for name, c in (('experts.tsv', '1.05'), ('all.tsv', '4')):
    subprocess.run([vmoe, 'run', model, 'all.npy', 'l.npy', '--report', 'r.json', '--group', 'image', '-C', c], check=True)
    for layer in json.load(open('r.json'))['layers']:
        mine = [chosen(table(name), layer['layer'], e) for e in range(8)]
        assert sum(mine) == layer['assigned'] and (layer['dropped'] > 0) == (c == '1.05')
        assert all(m >= l for m, l in zip(mine, layer['load'])) and sum(layer['load']) == sum(mine) - layer['dropped']
"
check "... a map" "$vmoe" experts "$model" --data data -o experts.svg
check "... is an SVG with a cell for each" "$python" -c "
import xml.etree.ElementTree as t
cells = [e for e in t.parse('experts.svg').getroot() if len(e) and 'expert' in e[0].text]
assert len(cells) == 3 * 8 * 10, len(cells)"
check "... says K and C" grep -q "K = 2, C = 1.05; choices" experts.svg
check "... without data" refuses 2 "data is missing" experts "$model"
check "... with a group" refuses 2 "unknown option '--group'" experts "$model" --data data --group 4
check "... into a file that is no .svg" refuses 2 "ends in .svg" experts "$model" --data data -o x.png

for i in 1 2 3 4 5 6 7 8 9; do
    printf '%.*sein l\303\244ngerer Name, \303\274ber den Rand hinaus\n' $i xxxxxxxxx
    mkdir -p long/$((i - 1))
    cp "$pictures/bag.jpg" long/$((i - 1))
done >long.txt
"$vmoe" import "$gap" -o long.vmoe --labels long.txt
"$vmoe" experts long.vmoe --data long -o long.svg
check "names that are too long are cut between letters" "$python" -c "
import xml.etree.ElementTree as t
texts = [e.text for e in t.parse('long.svg').iter() if e.tag.endswith('text')]
names = [text for text in texts if text.endswith('\u2026')]
assert len(names) == 9 and all(name.lstrip('x').startswith('ein l\u00e4ngerer Name') for name in names), names"
mkdir -p scale/0
cp "$pictures/bag.jpg" "$pictures/coat.jpg" "$pictures/shirt.jpg" scale/0
"$vmoe" experts "$model" --data scale --precision f32 >scale.tsv
"$vmoe" experts "$model" --data scale --precision f32 -o scale.svg
python_says "the scale of a map ends at the largest share" "
end = re.search('end.[^>]*>([0-9.]+) %<', open('scale.svg').read())[1]
most = max(float(row['percent_of_tokens']) for row in table('scale.tsv'))
assert abs(float(end) / most - 1) < 0.002, (end, most)
"
check "a narrow map has room for its title" "$python" -c "
import re
page, title = re.search('width=.([0-9]+).*(Which experts .*?)<', open('long.svg').read(), re.S).groups()
assert int(page) > 20 + 0.53 * 15 * len(title), (page, title)"
python_says "more classes than a map has columns" "
import os, shutil
sys.dont_write_bytecode = True
sys.path.insert(0, '$builder')
from vmoe_builder import build, make_config, random_tensors
config = make_config(classes=42)
open('classes.vmoe', 'wb').write(build(config, random_tensors(config)))
for i in range(42):
    os.makedirs('classes/%d' % i)
    shutil.copy(root + '/bag.jpg', 'classes/%d' % i)
    if i >= 39:
        subprocess.run([vmoe, 'experts', 'classes.vmoe', '--data', 'classes', '-o', 'classes.svg'], check=True)
        assert ('too; the first 40 of %d classes<' % (i + 1) in open('classes.svg').read()) == (i >= 40), i
"
printf '<%d> & ]]>\n' 0 1 2 3 4 5 6 7 8 >marks.txt
"$vmoe" import "$gap" -o marks.vmoe --labels marks.txt
"$vmoe" experts marks.vmoe --data long -o marks.svg
check "names with what XML reserves" "$python" -c "
import xml.etree.ElementTree as t
texts = [e.text for e in t.parse('marks.svg').iter() if e.tag.endswith('text')]
assert all('<%d> & ]]>' % i in texts for i in range(9)), texts"

# ---- work ----

python_says "cost, run, sweep and bench count the same work" "
def json_of(*options):
    return json.loads(subprocess.run([vmoe, *options], capture_output=True, check=True, text=True).stdout)
for c, least in (('4', 0.9999), ('0.2', 0.95)):  # of C = 4 all pairs, of 0.2 some slots stay empty
    most = json_of('cost', model, '--json', '-C', c)
    assert most['macs'] < most['papers_macs'] and most['macs_dense'] < most['papers_macs_dense']
    subprocess.run([vmoe, 'run', model, 'all.npy', 'l.npy', '-C', c, '--report', 'r.json'], check=True)
    ran = json.load(open('r.json'))
    assert most['papers_macs'] * least <= ran['papers_macs'] / ran['images'] <= most['papers_macs']
    subprocess.run([vmoe, 'sweep', model, '--data', 'data', '-C', c, '--priority', 'vanilla', '-o', 'work'], check=True)
    bench = json_of('bench', model, '--json', '--seconds', '0.01', '-C', c)
    for macs in (ran['macs'] / ran['images'], 1e9 * float(table('work.tsv')[0]['gmac_per_image']), bench['macs']):
        assert most['macs'] * least <= macs * 1.0002 and macs <= most['macs'] * 1.0002, (c, macs, most)
"

# ---- bench ----

"$vmoe" bench "$model" --seconds 0.01 -C 0.2,1.05 --threads 1 --images 3 --json >bench.json
python_says "bench" "
rows = [json.loads(line) for line in open('bench.json')]
assert [r['capacity_ratio'] for r in rows] == [0.2, 1.05]
for r in rows:
    assert r['calls'] >= 3 and r['images'] == 3 and r['threads'] == 1 and r['group_images'] == 1
    assert 0 < r['best_seconds'] <= r['p50_seconds'] <= r['p99_seconds']
    assert r['load_warm_seconds'] > 0 and r['peak_bytes'] > 1e6
    assert abs(r['images_per_second'] * r['p50_seconds'] - 3) < 1e-3
    assert sum(r['seconds'].values()) <= r['best_seconds'] * 1.001
assert rows[0]['macs'] < rows[1]['macs'] and rows[0]['dropped'] > rows[1]['dropped']
"
"$vmoe" import "$gap" -o grouped.vmoe --group-images 8
check "... of a file with groups" sh -c "'$vmoe' bench grouped.vmoe --seconds 0.01 --images 3 |
    grep -q '^calls  *3 images in groups of 1, '"
check "... as text" sh -c "'$vmoe' bench '$model' --seconds 0.01 | grep -q '^memory  *[0-9.]* [kMG]B at most$'"
check "... of a C that is too large" refuses 2 "at most 64, separated by commas" bench "$model" -C 1,65
check "... of a bad list" refuses 2 "option --capacity: expected values, separated by commas, found ',2'$" \
    bench "$model" -C 1,,2
check "... of a C that comes again" refuses 2 "expected each value once, .* found '1'$" \
    bench "$model" -C 1,1
check "... of no model" refuses 1 "nowhere" bench nowhere.vmoe

summary

#!/bin/sh
# check_interrupts.sh VMOE MODEL PYTHON: a command that gets SIGINT or SIGTERM ends by it, soon, and what
# it had begun to write is whole or gone.
vmoe=$PWD/$1 model=$PWD/$2 python=$3
picture=$PWD/examples/demo/pictures/bag.jpg
golden=$PWD/tests/data/golden
work=$PWD/${1%/*}/interrupts
# shellcheck source=tests/checks.sh
. tests/checks.sh

rm -rf "$work"
mkdir -p "$work"
cd "$work" || exit 1

# Work for a minute and more: the command must not wait for its end.
mkdir -p data/Bag data/Coat
i=0
while [ $i -lt 1000 ]; do
    i=$((i + 1))
    ln -s "$picture" "data/Bag/$i.jpg"
    ln -s "$picture" "data/Coat/$i.jpg"
done
folders=$(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo data/Bag data/Coat; done)
"$python" -c "
import numpy
numpy.save('images.npy', numpy.zeros((40000, 28, 28, 3), numpy.uint8))" || exit 1

# The command, which gets a signal after some seconds.  Who runs the tests in the background of a shell
# has made it ignore SIGINT.  Without --foreground timeout sends a second signal, which ends it at once.
interrupted() { # SIGNAL SECONDS ARGUMENT...
    after="$1 $2"
    shift 2
    # shellcheck disable=SC2086 # two words
    timeout --foreground --preserve-status -k 30 -s $after \
        env --default-signal=INT,TERM,HUP "$vmoe" "$@"
}

# A signal at eight moments.  A command that has not begun yet dies at once and says nothing.
interrupts() { # NAME SIGNAL STATUS ARGUMENT...
    name=$1 signal=$2 expected=$3
    shift 3
    said=0 wrong=
    for seconds in 0.01 0.02 0.04 0.08 0.15 0.3 0.5 0.7; do
        rm -rf product && mkdir product
        interrupted "$signal" $seconds "$@" >out 2>err
        status=$?
        if [ "$(cat err)" = "vmoe: interrupted" ]; then said=$((said + 1)); fi
        [ $status -eq "$expected" ] || wrong="$wrong status $status after $seconds s;"
        [ -z "$(ls product)" ] || wrong="$wrong it left $(ls product) after $seconds s;"
        [ ! -s out ] || [ "$(tail -c 1 out)" = "" ] || wrong="$wrong half a line after $seconds s;"
    done
    [ $said -gt 0 ] || wrong="$wrong it never said that it was interrupted;"
    result ${#wrong} "$name"
    [ -z "$wrong" ] || echo "#  $wrong"
}

# shellcheck disable=SC2086 # folders are words
{
    interrupts "preprocess" INT 130 preprocess resize-112 $folders -o product/seen.npy
    interrupts "classify" INT 130 classify "$model" $folders --isa ref
    interrupts "classify, JSON, SIGTERM" TERM 143 classify "$model" $folders --json --isa ref
}
interrupts "run" INT 130 run "$model" images.npy product/logits.npy --report product/report.json \
    --features product/features.npy --batch 500 --isa ref
interrupts "run, one call" TERM 143 run "$model" images.npy product/logits.npy --isa ref
interrupts "sweep" INT 130 sweep "$model" --data data -C 0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1 \
    -K 1,2,3,4 -o product/sweep --isa ref
interrupts "experts" TERM 143 experts "$model" --data data -o product/experts.svg --isa ref
interrupts "bench" INT 130 bench "$model" --images 64 --seconds 60 --isa ref

"$vmoe" classify "$model" data/Bag/1.jpg data/Coat/1.jpg --json >expected || exit 1
interrupted INT 0.5 classify "$model" data/Bag data/Coat --isa ref --json --threads 1 >out 2>err
check "lines before an interrupt are whole" "$python" -c "
import json
for line in open('out'):
    assert json.loads(line)['top'], line"

# An import is short: it may also have ended before.
cp "$model" product.vmoe
"$vmoe" import "$golden/models/gap/model" -o whole.vmoe --dtype f32 || exit 1
wrong=
for i in 1 2 3 4 5 6 7 8 9 10; do
    interrupted INT 0.00$((i % 10)) import "$golden/models/gap/model" -o product.vmoe \
        --dtype f32 2>err
    cmp -s product.vmoe whole.vmoe || cmp -s product.vmoe "$model" || wrong="$wrong a mixture;"
    [ -z "$(ls product.vmoe.* 2>/dev/null)" ] || wrong="$wrong a file is left;"
done
result ${#wrong} "import leaves the old file or the new one"
[ -z "$wrong" ] || echo "#  $wrong"

# Who has started it with nohup wants it to go on.
"$python" -c "
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
job = subprocess.Popen([sys.argv[1], 'bench', sys.argv[2], '--seconds', '0.5'], stdout=subprocess.PIPE,
                       restore_signals=False)
job.stdout.readline()
job.send_signal(signal.SIGHUP)
sys.exit(job.wait())" "$vmoe" "$model"
result $? "an ignored signal remains ignored"
summary

"""Asks the second reader what it makes of mutants that the library has read.

    second_opinion.py COUNT SEED MUTANTS FOLDER...

Both must accept or reject a file, and what is accepted must mean the same, number by number.  One
difference is documented: only the second reader checks the sums of int8 columns (docs/format.md).
"""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import second_reader  # noqa: E402  pylint: disable=wrong-import-position


def meaning_of(data):
    """The CRC-32 of the CRCs of the tensors; None for a file that is rejected, "sums" for its sums."""
    view = memoryview(data)
    crc = 0
    try:
        for _, values in second_reader._values(view, second_reader._header(view)):
            own = zlib.crc32(values.astype(values.dtype.newbyteorder("<"), copy=False))
            crc = zlib.crc32(struct.pack("<I", own), crc)
    except second_reader.Rejected as why:
        return "sums" if str(why).startswith("The sums ") else None
    return crc


def main():
    count, seed, program, *folders = sys.argv[1:]
    accepted = failed = read = sums = 0
    with subprocess.Popen([program, count, seed, *folders], stdout=subprocess.PIPE) as mutants:
        while record := mutants.stdout.read(16):
            size, good, expected, number = struct.unpack("<4I", record)
            data = mutants.stdout.read(size)
            found = meaning_of(data)
            read += 1
            if found == "sums" and good:
                sums += 1
                continue
            found = None if found == "sums" else found
            accepted += good
            if (found is not None) != bool(good) or (good and found != expected):
                failed += 1
                name = f"mutant-{seed}-{number}.vmoe"
                Path(name).write_bytes(data)
                print(f"{name}: the library {'accepts' if good else 'rejects'} it, the second reader "
                      f"{'rejects it' if found is None else 'reads %08x, not %08x' % (found, expected)}")
    print(f"  {read} mutants, {accepted} accepted by both, {sums} with other sums")
    complete = mutants.returncode == 0 and read == int(count)
    print(f"{int(complete and not failed)} passed, {failed + (not complete)} failed")
    return failed > 0 or not complete


if __name__ == "__main__":
    sys.exit(main())

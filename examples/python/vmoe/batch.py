"""Labels many pictures: files in, a table out, here or by the workers of a Dask client.

The rows of a job that runs are JSON lines in OUTPUT.part, behind a line that says which job it is;
one that was interrupted goes on from there.  OUTPUT itself appears complete or not at all.  A picture
that cannot be read becomes a row with its error, and the job goes on.
"""
from __future__ import annotations

import csv
import dataclasses
import fcntl
import itertools
import json
import os
from typing import Any, BinaryIO, Callable, Iterator, Sequence, Union

from ._library import Error, FileError, Status, refused
from .model import Model
from .options import Options

Path = Union[str, "os.PathLike[str]"]
Row = dict[str, Any]

_SUFFIXES = (".jpg", ".jpeg")

# What is wrong with a picture; anything else is wrong with the job.
_OF_PICTURES = (Status.UNSUPPORTED, Status.IO, Status.FORMAT, Status.LIMIT, Status.IMAGE)


def find(folder: Path) -> list[str]:
    """The JPEG files in a folder and below it, sorted by their paths.

    folder: raises FileError if it, or a folder below it, cannot be read.
    """
    def fail(error: OSError) -> None:
        raise FileError(Status.IO, str(error.filename), f"cannot be read: {error.strerror}")

    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder, onerror=fail)
                  for name in names if name.lower().endswith(_SUFFIXES))


def label(model: Model, files: Union[Path, Sequence[Path]], output: Path,
          options: Options = Options(), top: int = 1, batch: int = 32, client: Any = None,
          progress: bool = False, resume: bool = True) -> int:
    """Labels pictures, and returns how many of them could not be read.

    model: the model.
    files: a folder, a Parquet file with a column `path`, or a list of JPEG files.
    output: OUTPUT.jsonl, OUTPUT.csv or OUTPUT.parquet.  A line of JSON is {"file", "classes":
        [{"index", "probability", "label"}, ...]} or {"file", "status", "error"}; the other two have
        the columns file, status, error, index_1, probability_1, label_1, index_2, ...
    options: the dial.  Every picture is a routing group of its own, so that no answer depends on its
        neighbours.
    top: classes of each picture.
    batch: pictures of a call.
    client: a `distributed.Client` whose workers see the same paths; the output is the same to the
        byte.
    progress: show a bar (tqdm).
    resume: go on where the same job (model, options, top, files in the same order) was interrupted;
        its pictures are not looked at again.

    Raises ArgumentError for a wrong option, FileError if a folder or the list cannot be read, and
    OSError if the output cannot be written.
    """
    if options.group not in (None, 1):
        raise refused("options.group", "a batch job routes each picture by itself")
    if options.cancel is not None and client is not None:
        raise refused("options.cancel", "a token does not reach the workers of a client")
    if top < 1 or batch < 1:
        raise refused("top" if top < 1 else "batch", "expected at least 1")
    output = os.fspath(output)
    write = _FORMATS.get(os.path.splitext(output)[1])
    if write is None:
        raise refused("output", f"{output!r} ends with none of {', '.join(_FORMATS)}")
    options, top = dataclasses.replace(options, group=1), min(top, model.info.classes)
    model.classify_batch([], options, top)  # a wrong option is an error of the job
    names = _names(files)
    job = {"model": model.info.id, "top": top,
           "options": repr(dataclasses.replace(options, cancel=None))}

    with open(output + ".part", "a+b") as part:
        done = _begin(part, job, names if resume else [])
        chunks = [names[i:i + batch] for i in range(done, len(names), batch)]
        rows = _here(model, chunks, options, top) if client is None else _on_workers(
            client, model, chunks, options, top)
        if progress:
            rows = _with_bar(rows, done, len(names))
        for some in rows:
            part.write(b"".join(json.dumps(row).encode() + b"\n" for row in some))
            part.flush()
        failed = _finish(part, output, write, top)
        os.unlink(part.name)
    return failed


def label_chunk(model: Model, files: Sequence[str], options: Options, top: int) -> list[Row]:
    """The rows of some files: the unit of work, here or on a worker.

    model, options, top: as for label.  files: JPEG files.  Raises Error for what is not a picture's
    fault.
    """
    try:
        found = model.classify_batch(files, options, top)
    except Error as error:
        if error.status not in _OF_PICTURES:
            raise
        if len(files) > 1:  # find the one that is to blame
            return [row for file in files for row in label_chunk(model, [file], options, top)]
        return [{"file": files[0], "status": error.status, "error": str(error)}]
    return [{"file": file, "classes": [dataclasses.asdict(k) for k in classes]}
            for file, classes in zip(files, found)]


def _names(files: Union[Path, Sequence[Path]]) -> list[str]:
    if isinstance(files, (str, os.PathLike)):
        return _listed(files) if str(files).endswith(".parquet") else find(files)
    return [os.fsdecode(file) for file in files]


def _listed(table: Path) -> list[str]:
    """The column `path` of a Parquet file."""
    import pyarrow.parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]

    try:
        os.stat(table)  # pyarrow gives no reason why a file is not there
        column = pyarrow.parquet.read_table(table, columns=["path"]).column("path")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise FileError(Status.IO, os.fspath(table), f"cannot be read: {reason}") from error
    return [str(path) for path in column.to_pylist()]


def _begin(part: BinaryIO, job: Row, names: Sequence[str]) -> int:
    """Cuts off what is no whole row of this job's first files, and tells how many there are."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(Status.IO, part.name, "another job is writing this output") from None
    part.seek(0)
    done, good = 0, 0
    if part.readline() == json.dumps(job).encode() + b"\n":
        good = part.tell()
        for line, name in zip(part, names):
            if not _is_row(line, name):
                break
            done, good = done + 1, good + len(line)
    part.truncate(good)
    if good == 0:
        part.write(json.dumps(job).encode() + b"\n")
    return done


def _is_row(line: bytes, name: str) -> bool:
    try:
        return line.endswith(b"\n") and bool(json.loads(line)["file"] == name)
    except (ValueError, KeyError, TypeError):
        return False


def _here(model: Model, chunks: Sequence[Sequence[str]], options: Options,
          top: int) -> Iterator[list[Row]]:
    for chunk in chunks:
        yield label_chunk(model, chunk, options, top)


def _on_workers(client: Any, model: Model, chunks: Sequence[Sequence[str]], options: Options,
                top: int) -> Iterator[list[Row]]:
    """The same in the same order.  Workers load the model by its path."""
    shared = client.scatter(model, broadcast=True, hash=False)
    ahead = 2 * max(1, sum(client.nthreads().values()))
    waiting: list[Any] = []
    try:
        for chunk in chunks:
            waiting.append(client.submit(label_chunk, shared, chunk, options, top, pure=False))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        client.cancel(waiting)


def _with_bar(rows: Iterator[list[Row]], done: int, total: int) -> Iterator[list[Row]]:
    from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

    with tqdm(initial=done, total=total, unit="picture") as bar:
        for some in rows:
            yield some
            bar.update(len(some))


def _finish(part: BinaryIO, output: str, write: Callable[[str, Iterator[Row], int], None],
            top: int) -> int:
    """Makes the output of a complete part; returns how many rows are errors."""
    failed = 0

    def rows() -> Iterator[Row]:
        nonlocal failed
        part.seek(0)
        part.readline()
        for line in part:
            row = json.loads(line)
            failed += "error" in row
            yield row

    try:
        write(output + ".tmp", rows(), top)
        os.replace(output + ".tmp", output)
    except BaseException:
        if os.path.exists(output + ".tmp"):
            os.unlink(output + ".tmp")
        raise
    return failed


def _write_json(path: str, rows: Iterator[Row], top: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _flat(row: Row) -> Row:
    """A row of a table: one column for each thing that is known."""
    flat: Row = {"file": row["file"], "status": row.get("status"), "error": row.get("error")}
    for rank, found in enumerate(row.get("classes", ()), 1):
        flat.update({f"{name}_{rank}": value for name, value in found.items()})
    return flat


def _write_csv(path: str, rows: Iterator[Row], top: int) -> None:
    columns = ["file", "status", "error"]
    columns += [f"{name}_{rank}" for rank in range(1, top + 1)
                for name in ("index", "probability", "label")]
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table, quoted = (csv.DictWriter(file, columns, lineterminator="\n", quoting=quoting)
                         for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        table.writeheader()
        for flat in map(_flat, rows):
            # QUOTE_MINIMAL of Pythons before 3.13 leaves a carriage return, which ends a row, bare.
            (quoted if any("\r" in str(value) for value in flat.values()) else table).writerow(flat)


def _write_parquet(path: str, rows: Iterator[Row], top: int) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = [("file", pyarrow.string()), ("status", pyarrow.int32()), ("error", pyarrow.string())]
    for rank in range(1, top + 1):
        columns += [(f"index_{rank}", pyarrow.int32()), (f"probability_{rank}", pyarrow.float32()),
                    (f"label_{rank}", pyarrow.string())]
    schema = pyarrow.schema(columns)
    with pyarrow.parquet.ParquetWriter(path, schema) as table:
        while some := list(itertools.islice(rows, 10_000)):
            table.write_table(pyarrow.Table.from_pylist([_utf8(_flat(row)) for row in some], schema))


def _utf8(row: Row) -> Row:
    """Bytes of a file's name that are not UTF-8 as \\xNN; columns of text hold nothing else."""
    return {name: os.fsencode(value).decode("utf-8", "backslashreplace")
            if isinstance(value, str) else value for name, value in row.items()}


_FORMATS: dict[str, Callable[[str, Iterator[Row], int], None]] = {
    ".jsonl": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}

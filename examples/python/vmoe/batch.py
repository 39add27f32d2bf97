"""Labels many pictures: files in, JSON lines out, here or by the workers of a Dask client.

The output appears complete or not at all.  A picture that cannot be read becomes a row with its
error, and the job goes on.
"""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any, Iterator, Optional, Sequence, Union

from ._library import ArgumentError, Error
from .model import Model, Options

Path = Union[str, "os.PathLike[str]"]
_SUFFIXES = (".jpg", ".jpeg")


def find(folder: Path) -> list[str]:
    """The JPEG files in a folder and below it, sorted."""
    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder)
                  for name in names if name.lower().endswith(_SUFFIXES))


def _listed(table: pathlib.Path) -> list[str]:
    """The column `path` of a Parquet file."""
    import pyarrow.parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return [str(path) for path in
            pyarrow.parquet.read_table(table, columns=["path"]).column("path").to_pylist()]


def label(model: Model, files: Union[Path, Sequence[Path]], output: Path,
          options: Options = Options(), top: int = 1, batch: int = 32, client: Any = None,
          progress: bool = False) -> int:
    """Labels a folder, the column `path` of a Parquet file, or a list of files; returns how many of
    them could not be read.

    Each line of `output` is {"file", "classes": [{"index", "probability", "label"}, ...]}, or
    {"file", "status", "error"}.  Every picture is a routing group of its own, so that no answer
    depends on its neighbours.  `client` is a `distributed.Client` whose workers see the same paths;
    `progress` shows a bar (tqdm).
    """
    if options.group not in (None, 1):
        raise ArgumentError(1, "options.group", "a batch job routes each picture by itself")
    if top < 1 or batch < 1:
        raise ArgumentError(1, "top" if top < 1 else "batch", "expected at least 1")
    chosen = dataclasses.replace(options, group=1)
    chosen._raw()  # a wrong option is an error of the job, not of each picture
    model.cost(1, chosen)
    if isinstance(files, (str, os.PathLike)):
        files = _listed(pathlib.Path(files)) if str(files).endswith(".parquet") else find(files)
    names = [os.fspath(file) for file in files]
    chunks = [names[i:i + batch] for i in range(0, len(names), batch)]
    rows = _here(model, chunks, chosen, top) if client is None else _on_workers(
        client, model, chunks, chosen, top)
    return _write(pathlib.Path(output), _with_bar(rows, len(names)) if progress else rows)


def label_chunk(model: Model, files: Sequence[str], options: Options,
                top: int) -> list[dict[str, Any]]:
    """The rows of some files: the unit of work, here or on a worker."""
    try:
        found = model.classify_batch(files, options, top)
    except (Error, OSError) as error:
        if len(files) > 1:  # find the one that is to blame
            return [row for file in files for row in label_chunk(model, [file], options, top)]
        status = error.status if isinstance(error, Error) else 4
        return [{"file": files[0], "status": status, "error": str(error)}]
    return [{"file": file, "classes": [dataclasses.asdict(k) for k in classes]}
            for file, classes in zip(files, found)]


def _here(model: Model, chunks: Sequence[Sequence[str]], options: Options,
          top: int) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        yield from label_chunk(model, chunk, options, top)


def _on_workers(client: Any, model: Model, chunks: Sequence[Sequence[str]], options: Options,
                top: int) -> Iterator[dict[str, Any]]:
    """The same in the same order.  Workers load the model by its path."""
    shared = client.scatter(model, broadcast=True, hash=False)
    ahead = 2 * max(1, sum(client.nthreads().values()))
    waiting: list[Any] = []
    try:
        for chunk in chunks:
            waiting.append(client.submit(label_chunk, shared, chunk, options, top, pure=False))
            if len(waiting) > ahead:
                yield from waiting.pop(0).result()
        while waiting:
            yield from waiting.pop(0).result()
    finally:
        client.cancel(waiting)


def _with_bar(rows: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

    yield from tqdm(rows, total=total, unit="picture")


def _write(output: pathlib.Path, rows: Iterator[dict[str, Any]]) -> int:
    failed = 0
    part: Optional[str] = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=output.parent, prefix=output.name + ".",
                                         encoding="utf-8", delete=False) as file:
            part = file.name
            for row in rows:
                failed += "error" in row
                file.write(json.dumps(row) + "\n")
        os.replace(part, output)
    except BaseException:
        if part is not None:
            os.unlink(part)
        raise
    return failed

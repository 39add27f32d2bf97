"""Labels for many pictures: in one process, or on the workers of a Dask cluster.

    import vmoe.batch
    vmoe.batch.label("model.vmoe", "photos/", "labels.jsonl")

A picture that cannot be read is a row with `error`; the others go on.
"""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
from typing import Any, Iterable, Iterator, Optional, Sequence, Union

from . import _library as c
from .model import Model, Options

Row = dict[str, Any]
Paths = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]]]


def find(source: Paths, column: str = "path") -> list[str]:
    """The pictures of a folder (and of those in it), of a Parquet file's column, or of a list."""
    if not isinstance(source, (str, os.PathLike)):
        return [os.fspath(path) for path in source]
    path = pathlib.Path(source)
    if path.is_dir():
        return sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if path.suffix == ".parquet":
        import pyarrow.parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]

        table = pyarrow.parquet.read_table(path, columns=[column])
        return [str(value) for value in table.column(column).to_pylist()]
    return [str(path)]


def _row(path: str, classes: Any) -> Row:
    return {"path": path, "top": [{"index": k.index, "label": k.label,
                                   "probability": k.probability} for k in classes]}


def _one(model: Model, path: str, options: Options, top: int) -> Row:
    try:
        return _row(path, model.classify(path, options, top))
    except (c.Error, OSError) as error:
        return {"path": path, "error": str(error)}


def rows(model: Model, paths: Sequence[str], options: Options = Options(),
         top: int = 5) -> list[Row]:
    """A row for each path, in their order; one call for all, if all of them can be read."""
    try:
        found = model.classify_batch(list(paths), options, top)
    except (c.Error, OSError):
        return [_one(model, path, options, top) for path in paths]
    return [_row(path, classes) for path, classes in zip(paths, found)]


def _chunks(paths: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(paths), size):
        yield paths[begin:begin + size]


@contextlib.contextmanager
def _appear(path: Union[str, "os.PathLike[str]"]) -> Iterator[Any]:
    """A file that appears complete or not at all."""
    temporary = f"{os.fspath(path)}.tmp-{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _bar(total: int, progress: bool) -> Any:
    """tqdm's bar, or nothing where it is not installed or not wanted."""
    if progress:
        with contextlib.suppress(ImportError):
            from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

            return tqdm(total=total, unit="picture", disable=None)
    return contextlib.nullcontext()


def label(model: Union[Model, str, "os.PathLike[str]"], source: Paths,
          output: Optional[Union[str, "os.PathLike[str]"]] = None, options: Options = Options(),
          top: int = 5, chunk: int = 64, progress: bool = True, client: Any = None) -> list[Row]:
    """Labels all pictures of `source` (see find); `output` becomes a file of JSON lines.

    With `client`, a distributed.Client, chunks are labelled by its workers, each of which loads the
    model once; `model` must then be a path that they can read.  The rows are the same, to the bit,
    and in the order of the pictures.
    """
    paths = find(source)
    parts = list(_chunks(paths, chunk))
    made: list[Row] = []
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_appear(output)) if output is not None else None
        bar = stack.enter_context(_bar(len(paths), progress))
        results = _here(stack, model, parts, options, top) if client is None else \
            _there(client, model, parts, options, top)
        for some in results:
            made += some
            if file is not None:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
            if bar is not None:
                bar.update(len(some))
    return made


def _here(stack: contextlib.ExitStack, model: Any, parts: Any, options: Options,
          top: int) -> Iterator[list[Row]]:
    if not isinstance(model, Model):
        model = stack.enter_context(Model.load(model))
    return (rows(model, part, options, top) for part in parts)


_loaded: dict[str, Model] = {}


def _work(path: str, part: Sequence[str], options: Options, top: int) -> list[Row]:
    """On a worker: the model stays for the next chunk."""
    if path not in _loaded:
        _loaded[path] = Model.load(path)
    return rows(_loaded[path], part, options, top)


def _there(client: Any, model: Any, parts: Any, options: Options,
           top: int) -> Iterator[list[Row]]:
    if isinstance(model, Model):
        raise c.ArgumentError(1, "model", "workers load it themselves: give its path")
    futures = [client.submit(_work, os.path.abspath(os.fspath(model)), part, options, top,
                             pure=False) for part in parts]
    try:
        for future in futures:
            yield future.result()
    finally:
        client.cancel(futures)

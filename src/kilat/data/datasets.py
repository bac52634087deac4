"""The named data sets, embedded or from their official addresses: digits, flowers, cifar10, fashion-mnist."""

import contextlib
import gzip
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kilat.data.archive import ArchiveSource
from kilat.data.archive_formats import READ_ERRORS
from kilat.data.arrays import ArraySource
from kilat.data.binary_formats import CifarSource, read_idx
from kilat.data.catalog import Source
from kilat.data.download import RemoteFile, fetch
from kilat.data.folder import FolderSource
from kilat.data.tar_archive import TarArchive
from kilat.errors import SourceError, nearest
from kilat.locale import N_, _
from kilat.runtime.files import cache_home
from kilat.runtime.progress import Advance


@dataclass(frozen=True, slots=True)
class NamedDataset:
    """A data set that can be named instead of a path.

    Args:
        name: the name.
        description: what it is, in a few words; translated when it is shown.
        pictures: how many there are.
        classes: the class names.
        download_bytes: size of the download; 0 where it is embedded.
        licence: under which terms it may be used, and by whom.
        url: where it comes from.
        files: the official files.
        available: whether it is on this machine, so that no network is needed.
    """

    name: str
    description: str
    pictures: int
    classes: tuple[str, ...]
    download_bytes: int
    licence: str
    url: str
    files: tuple[RemoteFile, ...] = ()
    available: bool = False


_FLOWERS = RemoteFile(
    "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
    228_813_984,
    "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
)
_CIFAR = RemoteFile(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
_FASHION_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION = (
    RemoteFile(
        _FASHION_ADDRESS + "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    RemoteFile(
        _FASHION_ADDRESS + "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    RemoteFile(
        _FASHION_ADDRESS + "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    RemoteFile(
        _FASHION_ADDRESS + "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)

DATASETS = {
    dataset.name: dataset
    for dataset in (
        NamedDataset(
            "digits",
            N_("handwritten digits, 8×8, grey; comes with scikit-learn"),
            1797,
            tuple("0123456789"),
            0,
            N_("CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI repository)"),
            "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            available=True,
        ),
        NamedDataset(
            "flowers",
            N_("photos of five kinds of flowers, many sizes"),
            3670,
            ("daisy", "dandelion", "roses", "sunflowers", "tulips"),
            _FLOWERS.size,
            N_("CC BY 2.0 (the photographers are named in its LICENSE.txt)"),
            _FLOWERS.url,
            (_FLOWERS,),
        ),
        NamedDataset(
            "cifar10",
            N_("small photos of ten kinds of things, 32×32; ready-made train and test"),
            60_000,
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            _CIFAR.size,
            N_("none stated; cite A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images"),
            _CIFAR.url,
            (_CIFAR,),
        ),
        NamedDataset(
            "fashion-mnist",
            N_("ten kinds of clothing, 28×28, grey; ready-made train and test"),
            70_000,
            (
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            sum(file.size for file in _FASHION),
            "MIT (Zalando SE)",
            _FASHION_ADDRESS,
            _FASHION,
        ),
    )
}

_CIFAR_FOLDER = "cifar-10-batches-bin"
_FLOWERS_FOLDER = "flower_photos"


def data_home() -> Path:
    """Return the folder of downloaded data sets."""
    return cache_home() / "data"


def list_datasets(root: Path | None = None) -> list[NamedDataset]:
    """Return every named data set, ``available`` if it is on this machine (or among the copies in ``root``)."""
    return [replace(one, available=not one.files or _find_copy(one, root) is not None) for one in DATASETS.values()]


def open_dataset(name: str, *, root: Path | None = None, advance: Advance | None = None) -> Source:
    """Return a named data set as a source.

    Args:
        name: ``digits``, ``flowers``, ``cifar10`` or ``fashion-mnist``.
        root: a folder with copies; nothing is downloaded then.
        advance: called with the bytes that are downloaded and their total.

    Raises:
        SourceError: there is no such data set, no copy of it in ``root``, or no network to download it.
    """
    if name not in DATASETS:
        raise SourceError(_("There is no data set named {name!r}.").format(name=name), hint=nearest(name, DATASETS))
    dataset = DATASETS[name]
    if not dataset.files:
        return _digits()
    open_copy = _find_copy(dataset, root)
    if open_copy is None and root is not None:
        raise SourceError(
            _("No copy of {name} in {root}.").format(name=name, root=root),
            hint=_("Put one of these into it or into {name}/: {forms}.").format(
                name=name, forms=_forms_of_copy(dataset)
            ),
        )
    if open_copy is None:
        download(dataset, data_home() / name, advance)
        open_copy = _find_copy(dataset, None)
    assert open_copy is not None
    return open_copy()


def download(dataset: NamedDataset, folder: Path, advance: Advance | None = None) -> None:
    """Download the files of a data set that are not in the folder yet.

    Raises:
        SourceError: they cannot be downloaded; the hint says what to do instead.
    """
    before = 0
    for file in dataset.files:
        try:
            fetch(file, folder, _offset(advance, before, dataset.download_bytes))
        except SourceError as error:
            other = _("Or use --root FOLDER, with one of these in FOLDER: {forms}.").format(
                forms=_forms_of_copy(dataset)
            )
            raise SourceError(error.message, hint=f"{error.hint} {other}") from error
        before += file.size


def _offset(advance: Advance | None, before: int, total: int) -> Advance | None:
    """Return what reports the progress of one file as progress of all."""
    return (lambda done, _total, note="": advance(before + done, total, note)) if advance else None


def _forms_of_copy(dataset: NamedDataset) -> str:
    files = ", ".join(file.filename for file in dataset.files)
    return _("{files}; its pictures in class folders; train/ and test/ with class folders").format(files=files)


def _find_copy(dataset: NamedDataset, root: Path | None) -> Callable[[], Source] | None:
    """Return what opens the copy in ``root/<name>``, in ``root``, or among the downloads if no root is given.

    In each of these folders, class folders come before the official files. Copies are not compared with the checksums:
    they may be unpacked or packed again.
    """
    home = root or data_home()
    for folder in (home / dataset.name, home) if root else (home / dataset.name,):
        for inner in (folder, folder / _FLOWERS_FOLDER):
            if _has_classes(inner, dataset):
                return partial(FolderSource, inner, dataset.name)
        for inner in (folder, folder / _CIFAR_FOLDER):
            if dataset.name == "cifar10" and _has_batches(inner):
                return partial(CifarSource, inner, dataset.name, dataset.classes)
        if all((folder / file.filename).is_file() for file in dataset.files):
            return partial(_OPENERS[dataset.name], dataset, folder)
    return None


def _has_classes(folder: Path, dataset: NamedDataset) -> bool:
    """Return whether the folder, or ``train`` in it, holds the classes of the data set and no others."""
    # A class such as "T-shirt/top" cannot be a folder's name as it is; the other names suffice.
    possible = {name for name in dataset.classes if "/" not in name}
    for inside in (folder, folder / "train"):
        if inside.is_dir():
            names = {one.name for one in inside.iterdir() if one.is_dir() and not one.name.startswith(".")}
            if possible <= names and len(names) == len(dataset.classes):
                return True
    return False


def _has_batches(folder: Path) -> bool:
    return all((folder / batch).is_file() for batch in CifarSource.BATCHES)


def _digits() -> Source:
    """Return the digits of scikit-learn; their pixels, 0 to 16, become 0 to 255."""
    # Importing sklearn.datasets would take seconds; the file itself is read in hundredths of one.
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise SourceError(_("The digits come with scikit-learn, which is missing."), hint=_("pip install scikit-learn"))
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int16)
    pixels = ((table[:, :64] * 255 + 8) // 16).astype(np.uint8).reshape(-1, 8, 8)
    return ArraySource(pixels, [str(label) for label in table[:, 64]], "digits")


def _fashion(dataset: NamedDataset, folder: Path) -> Source:
    """Return all pictures as one array, 55 MB."""
    files = [folder / file.filename for file in dataset.files]
    images = [read_idx(file, 3) for file in files[::2]]
    labels = [read_idx(file, 1) for file in files[1::2]]
    if not all(len(a) == len(b) > 0 and b.max() < len(dataset.classes) for a, b in zip(images, labels, strict=True)):
        raise SourceError(
            _("The pictures and labels of {name} in {folder} do not belong together.").format(
                name=dataset.name, folder=folder
            )
        )
    splits = ["train"] * len(labels[0]) + ["test"] * len(labels[1])
    names = [dataset.classes[label] for label in np.concatenate(labels)]
    return ArraySource(np.concatenate(images), names, dataset.name, splits)


def _cifar(dataset: NamedDataset, folder: Path) -> Source:
    """Return the batches, unpacked once into the cache, so that any picture can be read at any time."""
    unpacked = data_home() / dataset.name / _CIFAR_FOLDER
    if not _has_batches(unpacked):
        _unpack_batches(folder / dataset.files[0].filename, unpacked)
    return CifarSource(unpacked, dataset.name, dataset.classes)


def _unpack_batches(archive: Path, folder: Path) -> None:
    """Write the six batch files, by their known names only; a file is there whole or not at all."""
    missing = set(CifarSource.BATCHES)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(TarArchive(archive)) as tar:
            for member in tar.members():
                if isinstance(member, str) or member.refused:
                    continue
                name = member.name.rpartition("/")[2]
                if name in missing:
                    _write_whole(tar.read(member.position, member.size), folder / name)
                    missing.remove(name)
    except READ_ERRORS as error:
        raise SourceError(
            _("{archive} cannot be unpacked into {folder}: {error}.").format(
                archive=archive, folder=folder, error=error
            ),
            hint=_("Copy it again."),
        ) from error
    if missing:
        raise SourceError(
            _("{archive} is not the binary version of CIFAR-10: it lacks {missing}.").format(
                archive=archive, missing=", ".join(sorted(missing))
            )
        )


def _write_whole(content: bytes, target: Path) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


_OPENERS: dict[str, Callable[[NamedDataset, Path], Source]] = {
    "flowers": lambda dataset, folder: ArchiveSource(folder / dataset.files[0].filename, dataset.name),
    "cifar10": _cifar,
    "fashion-mnist": _fashion,
}

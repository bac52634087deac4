"""The names that people give to training, validation and test sets: folders, values in tables, names of tables."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

SPLITS = {
    "train": """
        train training trainings trn tr trainval trainvalid trainvalidation learn learning fit
        latih latihan pelatihan entrenamiento entrenar treino treinamento entrainement apprentissage addestramento
        训练 训练集 訓練 訓練集
    """,
    "validation": """
        val vals valid validation validate validating vali valida vld dev devel development tuning
        eval evaluation evaluate publictest
        validasi validacion validacao validierung validazione 验证 验证集 驗證 驗證集
    """,
    "test": """
        test testing tests tst te holdout heldout privatetest
        uji ujian pengujian tes prueba pruebas teste testes 测试 测试集 測試 測試集
    """,
}
"""Words for the parts of a split, as people write them."""

_SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words.split()}

_EVALUATION = ("eval", "evaluation", "evaluate")
"""The test set, where another folder is for validation."""

PICTURES = frozenset(
    """
    images image img imgs picture pictures pic pics photo photos foto fotos gambar citra
    jpg jpgs jpeg jpegs jpegimages png pngs rgb original originals
    """.split()
)
"""Words of folders of which nothing else is known than that pictures are in them."""

FILLERS = (
    frozenset(
        """
        set sets data dataset datasets sample samples example examples file files folder folders dir split part subset
        partition full final all new raw resized cropped orig small large big mini tiny single zip px the my our of for
        and public private labelled labeled clean cleaned processed preprocessed augmented aug balanced v x
        """.split()
    )
    | PICTURES
)
"""Words that say nothing beside the name of a split: ``train_images``, ``my test set``."""

_LONGEST_WORD = 40
"""Letters above which a word is not two of those that are known."""

_JOINED = re.compile(r"(hold|held|ground|public|private|train)[\W_]*(out|truth|test|val(?:id(?:ation)?)?)(?![^\W\d_])")
"""Two words that are one, however they are written: hold-out, ground truth, PublicTest, train_val."""


@dataclass(frozen=True, slots=True)
class SplitName:
    """A name that is the name of a split.

    Args:
        split: ``train``, ``validation`` or ``test``.
        stem: the other words that mean something, equal for the folders of one data set: ``seg`` in ``seg_train``.
        rest: the name without the word for the split, as it is written.
    """

    split: str
    stem: tuple[str, ...]
    rest: str


def split_of(name: str) -> str | None:
    """Return the split that a name stands for: ``train``, ``validation`` or ``test``; None for any other name."""
    found = split_name(name)
    return None if found is None or found.stem else found.split


def split_name(name: str) -> SplitName | None:
    """Return what a name says of a split, beside other words; None where it is not the name of one."""
    words = words_of(name)
    roles = [word for word in words if word in _SPLIT_OF]
    if len(roles) != 1:
        return None
    stem = tuple(word for word in telling_words(name) if word != roles[0])
    rest = re.sub(roles[0], "", name, count=1, flags=re.IGNORECASE)
    return SplitName(_SPLIT_OF[roles[0]], stem, rest.strip(" ._-"))


def splits_among(names: Iterable[str]) -> dict[str, SplitName]:
    """Return those of the folders in one place that are named like splits.

    A folder ``evaluation`` is the test set where there is another one for validation and none for the test.
    """
    found = {name: one for name in names if (one := split_name(name))}
    evaluation = {name for name in found if any(word in _EVALUATION for word in words_of(name))}
    others = {one.split for name, one in found.items() if name not in evaluation}
    if "validation" in others and "test" not in others:
        found |= {name: SplitName("test", found[name].stem, found[name].rest) for name in evaluation}
    return found


def telling_words(name: str) -> tuple[str, ...]:
    """Return the words of a name that mean something beside the name of a split."""
    return tuple(word for word in words_of(name) if word not in FILLERS and not word.isdigit())


@lru_cache(maxsize=262_144)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name, without case and accents: ``TrainSet2`` is ``train``, ``set``, ``2``."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).casefold()
    words = re.findall(r"[^\W\d_]+|\d+", _JOINED.sub(r"\1\2", parted))
    return tuple(part for word in words for part in _parted(word))


def _parted(word: str) -> list[str]:
    """Return the two words of ``trainset`` or ``testimages``; else the word."""
    for length in range(len(word) - 2, 2, -1) if len(word) <= _LONGEST_WORD else ():
        if word[:length] in _SPLIT_OF and word[length:] in FILLERS:
            return [word[:length], word[length:]]
    return [word]

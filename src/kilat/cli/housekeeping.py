"""The verbs beside the work: cache, glossary."""

from typing import Annotated

import typer

from kilat.cli import show
from kilat.cli.options import Json
from kilat.cli.terminal import say, wrapped
from kilat.cli.verb import verb
from kilat.locale import N_, _, ngettext

FAMILY = "Housekeeping"


@verb(FAMILY, "kilat cache", "kilat cache --clear")
def cache(
    clear: Annotated[bool, typer.Option("--clear", help=N_("Delete all that is kept."))] = False,
    as_json: Json = False,
) -> None:
    """Show or clear what is kept between runs."""
    from kilat.features import cache as features
    from kilat.runtime import kept_files, result_cache
    from kilat.runtime.files import cache_home

    results = result_cache.folder(), kept_files.RESULTS
    backbones = cache_home() / "backbones", kept_files.BACKBONES
    if clear:
        freed = kept_files.clear(*results) + kept_files.clear(*backbones) + features.clear()
        show.print_json({"freed": freed}) if as_json else say(_("freed {size}").format(size=show.size(freed)))
        return
    folder, size, count = features.usage()
    if as_json:
        document = {"folder": str(folder), "bytes": size, "vectors": count, "limit": features.limit()}
        sizes = {"result_bytes": kept_files.usage(*results), "backbone_bytes": kept_files.usage(*backbones)}
        show.print_json(document | sizes)
        return
    sentence = ngettext(
        "{count:,} feature vector, {size} of at most {limit}, in {folder}",
        "{count:,} feature vectors, {size} of at most {limit}, in {folder}",
        count,
    )
    say(sentence.format(count=count, size=show.size(size), limit=show.size(features.limit()), folder=folder))
    say(_("results that follow from them: {size}").format(size=show.size(kept_files.usage(*results))))
    say(_("exported backbones: {size}").format(size=show.size(kept_files.usage(*backbones))))


@verb(FAMILY, "kilat glossary", "kilat glossary dropout 'learning rate'", "kilat glossary --json")
def glossary(
    words: Annotated[list[str] | None, typer.Argument(help=N_("Words to explain; all of them by default."))] = None,
    as_json: Json = False,
) -> None:
    """Explain the field's words."""
    from kilat.errors import KilatError, nearest
    from kilat.locale.glossary import GLOSSARY, look_up

    keys = list(map(look_up, words or [])) or list(GLOSSARY)
    if words and "" in keys:
        word = words[keys.index("")]
        names = [_(term.name) for term in GLOSSARY.values()]
        raise KilatError(_("The glossary does not have '{word}'.").format(word=word), hint=nearest(word, names))
    terms = [(_(GLOSSARY[key].name), GLOSSARY[key].name, _(GLOSSARY[key].meaning)) for key in keys]
    if as_json:
        show.print_json({"terms": [dict(zip(("word", "english", "meaning"), one, strict=True)) for one in terms]})
        return
    for word, english, meaning in terms if words else sorted(terms, key=lambda term: term[0].casefold()):
        say(word if word == english else f"{word} ({english})")
        say(wrapped(meaning, "   "))

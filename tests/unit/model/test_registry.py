"""The list of backbones: searched, sorted, counted once, known without torch, and nothing downloaded for it."""

import json
from pathlib import Path

import pytest

from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.locale.notes import Note
from kilat.model import registry
from kilat.model.registry import Entry, SearchResult, document, find, table


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache" / "backbones"


def names(found: SearchResult) -> list[str]:
    return [entry.name for entry in found.entries]


def entry(name: str, **known) -> Entry:
    fields = {"size": 224, "licence": "mit", "accuracy": None, "accuracy_size": None, "embedded": False, "here": False}
    return Entry(name, **{**fields, **known})


class TestWithoutTorch:
    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch):
        monkeypatch.setattr("kilat.model.registry.has_torch", lambda: False)

    def test_the_embedded_ones_are_listed_and_what_to_install(self):
        found = find()
        assert names(found) == [*lite.NAMES]
        assert [one.accuracy for one in found.entries] == [75.1, 76.7, 77.6]
        assert all(one.parameters and one.macs for one in found.entries)
        assert found.entries[0].here
        assert found.notes[-1].sentence().endswith("pip install 'kilat[torch]'")

    def test_another_one_needs_the_extra(self):
        with pytest.raises(MissingExtra, match=r"backbone 'resnet50' .* needs the extra 'torch'"):
            find("resnet50")

    def test_what_the_extra_weights_would_bring(self, monkeypatch):
        monkeypatch.setattr(registry, "weights_file", lambda name: None)
        assert [line.split("  ")[-1].strip() for line in table(find()).splitlines()[1:4]] == ["extra 'weights'"] * 3
        assert table(find(here=True)).startswith("None of these is on this machine.")


class TestSearch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch", reason="the extra torch is not installed")

    def test_a_part_of_the_name_finds_those_that_begin_with_it_first(self):
        first, *_, last = names(find("ResNet18.", limit=50))
        assert first == "resnet18.a1_in1k"
        assert last == "skresnet18.ra_in1k"
        assert names(find("net18.tv_in1k")) == ["resnet18.tv_in1k"]

    def test_a_pattern(self):
        assert names(find("resnet1?.tv_*")) == ["resnet18.tv_in1k"]
        assert names(find("*lite[12]")) == ["efficientnet_lite1", "efficientnet_lite2"]

    def test_the_embedded_ones_come_first_and_the_rest_is_counted(self):
        found = find("lite", limit=4)
        assert names(found)[:3] == [*lite.NAMES]
        assert found.more > 0
        assert found.notes[0].sentence().startswith(f"{found.more} more:")
        assert found.notes[0].sentence().endswith(f"--limit {4 + found.more}.")

    def test_nearest_names_where_nothing_matches(self):
        with pytest.raises(BackboneError, match="No backbone matches 'resnett18'") as caught:
            find("resnett18")
        assert "'resnet18'" in caught.value.hint

    def test_what_is_known_of_a_network(self):
        (known,) = find("resnet18.a1_in1k").entries
        assert (known.size, known.licence, known.accuracy, known.accuracy_size) == (224, "apache-2.0", 71.5, 224)
        assert known.parameters == 11_689_512 - 513_000  # torchvision's ResNet-18 without its classifier
        assert 1.81e9 < known.macs < 1.82e9
        assert not known.here
        (unknown,) = find("resnet50.bamboo").entries
        assert (unknown.licence, unknown.accuracy) == ("unknown", None)

    def test_here_are_those_whose_weights_need_no_download(self, monkeypatch):
        from kilat.model import timm_networks

        monkeypatch.setattr(timm_networks, "has_weights", lambda name: name == "resnet18.tv_in1k")
        assert names(find("resnet18.", here=True)) == ["resnet18.tv_in1k"]

    def test_by_size_and_by_accuracy(self):
        parameters = [one.parameters for one in find("mobilenetv3_small_0", sort="parameters").entries]
        assert parameters == sorted(parameters)
        macs = [one.macs for one in find("resnet18.a?_in1k", sort="macs").entries]
        assert macs == sorted(macs)
        by_accuracy = [one.accuracy for one in find("resnet50.*", sort="accuracy", limit=4).entries]
        assert by_accuracy == [80.4, 79.4, 76.2, None]


class TestCounting:
    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch", reason="the extra torch is not installed")

    @pytest.mark.parametrize("name", lite.NAMES)
    def test_what_is_written_down_of_the_embedded_ones_is_what_is_counted(self, name):
        (known,) = find(name, limit=1).entries
        assert registry.count(f"tf_{name}", (3, known.size, known.size)) == (known.parameters, known.macs)

    def test_attention_counts(self):
        """By hand, for ViT-Tiny: of 12 blocks the kernels on 197 tokens and two products of attention; the patches."""
        _, macs = registry.count("vit_tiny_patch16_224.augreg_in21k_ft_in1k", (3, 224, 224))
        assert macs == 12 * (197 * 12 * 192**2 + 2 * 197**2 * 192) + 196 * 192 * 768

    def test_each_is_counted_once(self, home, monkeypatch):
        calls = []
        first = find("resnet18.a?_in1k", advance=lambda done, total: calls.append((done, total)))
        assert calls == [(1, 2), (2, 2)]  # two at 224 pixels share their counts, one takes 160
        monkeypatch.setattr(registry, "count", lambda *_: pytest.fail("it was counted again"))
        assert find("resnet18.a?_in1k") == first
        assert [path.suffix for path in home.iterdir()] == [".json"]

    @pytest.mark.parametrize("damaged", ["", "[]", '{"resnet18 224": [1]}', '{"resnet18 224": {"a": 1}}'])
    def test_a_damaged_record_is_made_anew(self, home, damaged):
        first = find("resnet18.tv_in1k")
        (file,) = home.iterdir()
        whole = file.read_text()
        file.write_text(damaged)
        assert find("resnet18.tv_in1k") == first
        assert file.read_text() == whole

    def test_an_interruption_keeps_what_was_counted(self, home, monkeypatch):
        def interrupted(name, size):
            if name.endswith("a3_in1k"):
                raise KeyboardInterrupt
            return (1, 2)

        monkeypatch.setattr(registry, "count", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find("resnet18.a?_in1k")
        (file,) = home.iterdir()
        assert json.loads(file.read_text()) == {"resnet18 224": [1, 2]}

    def test_a_network_that_cannot_be_counted_is_listed_without(self, monkeypatch):
        monkeypatch.setattr(registry, "count", lambda *_: 1 // 0)
        (known,) = find("resnet18.tv_in1k").entries
        assert (known.parameters, known.macs) == (None, None)


def test_every_published_figure_is_of_a_network_that_can_be_had():
    timm = pytest.importorskip("timm", reason="the extra torch is not installed")
    published = registry.published_accuracy()
    assert set(published) <= {*lite.NAMES, *timm.list_pretrained()}
    assert all(50 < accuracy < 95 and 128 <= size <= 512 for accuracy, size in published.values())


def test_the_table():
    found = SearchResult(
        [
            entry("small", accuracy=75.14, accuracy_size=240, parameters=3_400_000, macs=380_000_000, here=True),
            entry("a_larger_one", parameters=1_100_000_000, macs=None),
        ],
        1000,
        [Note("backbones_more", {"count": 1000, "all": 1002})],
    )
    assert table(found).splitlines() == [
        "name          parameters    MACs  size  top-1        licence  weights",
        "small              3.4 M  0.38 G   224  75.1 at 240  mit      here",
        "a_larger_one   1,100.0 M       -   224  -            mit      to download",
        "1,000 more: narrow the search, or take --limit 1002.",
    ]


def test_the_document_holds_all_of_it():
    found = document(SearchResult([entry("one", macs=5)], 0, []))
    assert found == {"backbones": [{**vars(entry("one")), "macs": 5}], "more": 0, "notes": []}
    assert json.loads(json.dumps(found)) == found

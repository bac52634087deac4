"""The verb that lists networks, as a user types it."""

import pytest


def test_the_embedded_ones_as_a_table_and_as_json(kilat_here, json_lines):
    done = kilat_here("backbones", "*net_lite[012]")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["name", "parameters", "MACs", "size", "top-1", "licence", "weights"]
    assert lines[1].split() == ["efficientnet_lite0", "3.4", "M", "0.38", "G", "224", "75.1", "apache-2.0", "here"]
    (document,) = json_lines(kilat_here("backbones", "*net_lite[012]", "--json").stdout)
    assert [one["name"] for one in document["backbones"]] == [line.split()[0] for line in lines[1:4]]
    assert document["more"] == 0


def test_limit_and_order(kilat_here, json_lines):
    pytest.importorskip("torch", reason="the extra torch is not installed")
    done = kilat_here("backbones", "resnet50.*", "--sort", "accuracy", "--limit", 2, "--json")
    (document,) = json_lines(done.stdout)
    assert [one["accuracy"] for one in document["backbones"]] == [80.4, 79.4]
    assert document["more"] > 10


def test_refusals(kilat_here):
    done = kilat_here("backbones", "efficientnet_lite00")
    assert (done.returncode, done.stdout) == (2, "")
    assert "efficientnet_lite0" in done.stderr
    assert kilat_here("backbones", "--sort", "colour").returncode == 2
    assert kilat_here("backbones", "--limit", 0).returncode == 2

"""The same command gives the same run, byte for byte; nothing of torch, of a display or of the network is touched."""

import json
import shutil

import kilat

CLOSED = """
import atexit, json, socket, sys
reached = []
def refuse(*arguments, **options):
    reached.append(repr(arguments))
    raise OSError("closed")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
atexit.register(lambda: print(json.dumps({"reached": reached, "modules": sorted(sys.modules)}), file=sys.stderr))
"""


def test_cold_and_warm_in_two_processes_and_within_one(photos, cli, tmp_path, own_cache, assert_same_run):
    for name in ("cold", "warm"):
        done = cli("train", photos, "--runs", tmp_path, "--name", name, "--size", 96)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(own_cache / "results")  # the warm run had its results from the cold one; this one computes them
    here = kilat.train(photos, runs=tmp_path, name="here", size=96)
    assert_same_run(tmp_path / "cold", tmp_path / "warm")
    assert_same_run(tmp_path / "cold", here.folder)


def test_another_seed_gives_another_run(photos, photos_run, tmp_path):
    other = kilat.train(photos, runs=tmp_path, seed=1)
    for name in ("model.onnx", "predictions.csv", "catalog.csv"):
        assert (other.folder / name).read_bytes() != (photos_run.folder / name).read_bytes(), name


def test_answers_do_not_depend_on_who_is_asked_beside(photos_run, other_photos):
    paths = sorted(other_photos.rglob("*.jpg"))
    together = photos_run.classifier.predict_proba(paths)
    for i in (0, 7, 23):
        assert (photos_run.classifier.predict_proba(paths[i]) == together[i]).all()


def test_training_touches_neither_torch_nor_pyplot_nor_the_network(photos, cli, tmp_path):
    done = cli("train", photos, "--runs", tmp_path, "--size", 32, "--json", before=CLOSED)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    modules = json.loads(done.stderr.splitlines()[-1])
    assert modules["reached"] == []
    assert not {"torch", "timm", "torchvision", "matplotlib.pyplot", "tensorflow"} & set(modules["modules"])

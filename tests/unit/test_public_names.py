"""The public names are where users look for them, and importing the package loads little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import enginery
from enginery import client, error


@pytest.mark.parametrize("module", [enginery, client])
def test_every_public_name_is_there(module):
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize("module", [enginery, client])
def test_type_checkers_see_the_same_names(module):
    tree = ast.parse(Path(module.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname or alias.name for node in block.body for alias in node.names}
    assert seen | {"__version__"} == set(module.__all__) | {"__version__"}


def test_every_exception_is_public():
    classes = {
        name
        for name, value in vars(error).items()
        if isinstance(value, type) and issubclass(value, error.EngineryError)
    }
    assert classes <= set(enginery.__all__)


def test_the_same_things_under_the_older_paths():
    assert client.Client is enginery.Client
    assert client.AsyncResult is enginery.AsyncResult
    assert enginery.error.RemoteError is enginery.RemoteError


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'enginery' has no attribute 'Klient'"):
        _ = enginery.Klient
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = client.Klient


def test_import_loads_nothing_heavy():
    script = "import sys, enginery; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30
    ).stdout.split()
    assert "enginery" in loaded
    assert not {"zmq", "msgspec", "IPython", "cloudpickle", "numpy", "traitlets"} & set(loaded)

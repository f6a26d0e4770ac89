"""The machines still tell the same stories."""

import pytest

from .scripts import SCRIPTS
from .stage import HERE, perform


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_story(script):
    golden = (HERE / f"{script.__name__}.txt").read_text()
    assert perform(script) == golden, "to accept: python -m tests.transcripts --update"


def test_every_story_has_a_script():
    assert {path.stem for path in HERE.glob("*.txt")} == {s.__name__ for s in SCRIPTS}

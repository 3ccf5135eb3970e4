"""The venue's behaviour as transcripts: `venue_scenes/*.txt` hold commands and, whole and in order, the events that come of them.

How to read and write one: `support/transcript.py`.
"""

from pathlib import Path

import pytest

from support.transcript import play, scenes

FILES = sorted((Path(__file__).parent / "venue_scenes").glob("*.txt"))
SCENES = [
    pytest.param(transcript, id=f"{path.stem}: {title}") for path in FILES for title, transcript in scenes(path).items()
]


@pytest.mark.parametrize("transcript", SCENES)
def test_scene_goes_as_written(transcript: str) -> None:
    assert play(transcript) == transcript


def test_scenes_have_titles_of_their_own() -> None:
    for path in FILES:
        titles = [line for line in path.read_text().splitlines() if line.startswith("# ")]
        assert len(titles) == len(set(titles)) == len(scenes(path)), path

"""The session layer against scenes written from the QuickFIX acceptance definitions, and some of its own."""

from pathlib import Path

import pytest

from support.fix_scene import play, scenes_of

FOLDER = Path(__file__).parent / "fix_scenes"
SCENES = {
    f"{path.stem}: {title}": lines for path in sorted(FOLDER.glob("*.txt")) for title, lines in scenes_of(path).items()
}


@pytest.mark.parametrize("title", SCENES)
def test_session_of_a_scene_says_exactly_what_it_should(title: str, tmp_path: Path) -> None:
    play(SCENES[title], tmp_path / "sessions.sqlite")

"""The doctor names what is missing instead of failing on it."""

import pytest

from orchestration import doctor


def test_missing_packages_and_broken_checks_are_findings(monkeypatch):
    def _renderer():
        raise ImportError("no moderngl")

    monkeypatch.setattr(doctor, "PACKAGES", ("json", "no_such_package"))
    monkeypatch.setattr(doctor, "CHECKS", (_renderer,))
    there, absent, renderer = doctor.examine()
    assert there.is_fine
    assert (absent.is_fine, renderer.is_fine) == (False, False)
    assert renderer.what == "renderer"
    for finding in (absent, renderer):
        assert "run `make setup`" in finding.detail


@pytest.mark.parametrize("name", ["_body", "_disk", "_python", "_mediapipe_models", "_gpu"])
def test_every_light_check_answers(name):
    finding = getattr(doctor, name)()
    assert finding.detail
    assert finding.what

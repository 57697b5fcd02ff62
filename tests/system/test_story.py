"""The main job on a running system, and again while each of its processes is killed."""

import time

import pytest

from tests.system.running import PARTS, System, finished

pytestmark = pytest.mark.system


def test_the_story_can_be_told_again_and_again(running: System) -> None:
    for _ in range(2):
        assert "The story holds" in running.tell()
    running.assert_sound()


@pytest.mark.parametrize("victim", PARTS)
def test_a_killed_process_loses_doubles_and_reorders_nothing(running: System, victim: str) -> None:
    """SIGKILL in the middle of the story; its clients send again what got no answer, and it ends as it should."""
    before = {service: e.position for service, e in running.evidence().items()}
    story = running.story()
    try:
        time.sleep(2.4)
        assert story.poll() is None, "the story ended before anything was killed"
        running.part(victim).kill()
        time.sleep(0.3)
        running.part(victim).start()
        said = finished(story)
    finally:
        story.kill()
        story.wait()
    assert "The story holds: 40 events" in said
    after = running.assert_sound()
    added = {service: after[service].position - before[service] for service in before}
    assert added == {"identity": 12, "marketplace": 13, "entitlements": 10, "distribution": 1}, said

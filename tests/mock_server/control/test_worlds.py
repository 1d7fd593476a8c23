"""
Parallel tests share a mock, each in a world of its own.
"""

from pathlib import Path

import pytest

from harness.clock import LoopClock
from mock_server import MockOptions, check
from mock_server.testing import mock_in_test
from mock_server.worlds import world_name


@pytest.mark.virtual_time
async def test_one_world_begins_anew(clock: LoopClock) -> None:
    """
    A reset world has lost its faults, its journal and its cursors; others have not.
    """
    script = "upstream: {script: [{reply: [{text: one}, {text: two}]}]}"
    fault = {"target": "tools", "fault": "status", "status": 503}
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        for key in ("sk-mine", "sk-yours"):
            await mock.chat(api_key=key)
            path = f"/_mock/worlds/{world_name(key)}/faults"
            assert (await mock.send("POST", path, fault)).status == 201
        mine = f"/_mock/worlds/{world_name('sk-mine')}"
        reset = await mock.send("POST", f"{mine}/reset")
        journal = await mock.send("GET", f"{mine}/journal")
        faults = await mock.send("GET", "/_mock/faults")
        said = [
            (await mock.chat(api_key=key)).json["choices"][0]["message"]["content"]
            for key in ("sk-mine", "sk-yours")
        ]
        metrics = await mock.send("GET", "/_mock/metrics")

    assert reset.json == {"status": "reset"}
    assert journal.json["entries"] == []
    assert [each["world"] for each in faults.json["faults"]] == [world_name("sk-yours")]
    assert said == ["one", "two"]
    assert b'mock_held{kind="worlds"} 2.0' in metrics.body
    assert b"mock_events_published " in metrics.body


def test_a_script_is_checked_without_serving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A sound script is 0, a broken one 2 with the place of each mistake.
    """
    sound, broken = tmp_path / "sound.yaml", tmp_path / "broken.yaml"
    sound.write_text("upstream: {script: [{reply: {text: hi}}]}", encoding="utf-8")
    broken.write_text("upsteam: {}", encoding="utf-8")

    codes = [check(sound), check(broken), check(None)]

    assert codes == [0, 2, 2]
    said = capsys.readouterr()
    assert said.out == f"{sound}: ok, 1 rules\n"
    assert f"{broken}:1:1: upsteam: unknown key; did you mean 'upstream'?" in said.err

"GPU day in small: the same command, on the CPU, called twice."
import json

from pact_nb import gpu_day


def test_two_calls(tmp_path, capsys):
    """The first call ends in time and says that there is more; the second does the rest, begins
    nothing again, and every part is done."""
    words = ["--device", "cpu", "--small", "--folder", str(tmp_path), "--minutes"]
    assert gpu_day.main([*words, "0.2"]) == 3
    first = json.loads((tmp_path / "day.json").read_text())
    assert 0 < len(first) < 7 and "call again" in capsys.readouterr().out
    assert gpu_day.main([*words, "6"]) == 0
    told = json.loads((tmp_path / "day.json").read_text())
    over = {n: t for n, t in first.items() if t["code"] == 0}
    assert over and {n: told[n] for n in over} == over
    found = json.loads((tmp_path / "gpu-day.json").read_text())
    names = [p["part"].split()[0] for p in found["parts"]]
    assert names == ["machine", "checks", "groups", "bench", "table1", "svhn", "imagenet"]
    assert {p["ending"] for p in found["parts"]} == {"done"} and found["small"]
    assert [r["n_runs"] for r in found["table1"]] == [1, 1, 1]
    assert capsys.readouterr().out.count(": done") == 7 - len(over)

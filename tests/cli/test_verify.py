"""`albert-edge verify`: exit codes and figures."""

from __future__ import annotations

from cli.commands import PARITY, albert_edge


def test_verify_against_another_checkpoint_fails_with_1(tmp_path, tiny):
    done = albert_edge("verify", tiny, PARITY / "base_classification")
    assert done.exit_code == 1
    assert "verify it against the checkpoint that it was made from" in done.stderr


def test_texts_are_compared_line_by_line(tmp_path, tiny):
    texts = tmp_path / "texts.txt"
    texts.write_bytes(b"a film\n\xff\n")
    done = albert_edge("verify", tiny, PARITY / "base_classification", "--texts", texts)
    assert done.exit_code == 1
    assert "texts.txt is not UTF-8" in done.stderr
    assert done.stdout == ""

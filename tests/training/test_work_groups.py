"""Jobs that may be done at once."""

import pathlib

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.training import work
from gpt1_jax.training.work import Job


class Program:
    """Finishes the folders that it is given, and notes them; a `bad` one among them stops it."""

    def __init__(self, bad: str = ""):
        self.bad, self.calls = bad, []

    def __call__(self, *folders: str):
        names = [pathlib.Path(folder).name for folder in folders]
        self.calls.append(names)
        if self.bad in names:
            raise UserError("update 3: loss is nan")
        for folder in folders:
            pathlib.Path(folder).mkdir(exist_ok=True)
            (pathlib.Path(folder) / "result.json").write_text("{}")


def jobs(program: Program) -> list[Job]:
    return [Job("body", (), program), *(Job(f"{cell}_{seed}", ("body",), program, cell) for seed in range(3) for cell in ("a", "b"))]


def test_a_group_is_done_at_once_but_for_what_is_finished(tmp_path):
    program, done = Program(), []
    Program()(str(tmp_path / "b_1"))
    work.work(jobs(program), tmp_path, done.append)
    assert program.calls == [["body"], ["a_0", "a_1", "a_2"], ["b_0", "b_2"]]
    assert done == ["body", "a_0", "a_1", "a_2", "b_0", "b_2"]


def test_what_another_has_is_left_to_it(tmp_path):
    program = Program()
    waiting = [job for job in jobs(program) if job.group == "a"]
    with work.claimed(tmp_path, "a_1"):
        assert work._attempt(waiting, tmp_path) == ["a_0", "a_2"]
    assert work._attempt(waiting, tmp_path) == ["a_1"]
    assert program.calls == [["a_0", "a_2"], ["a_1"]]


def test_where_a_group_fails_each_is_tried_by_itself(tmp_path):
    program = Program(bad="a_1")
    work.work(jobs(program), tmp_path)
    assert program.calls == [["body"], ["a_0", "a_1", "a_2"], ["a_0"], ["a_1"], ["a_2"], ["b_0", "b_1", "b_2"]]
    failures = {job.name: work.failure(tmp_path, job.name) for job in jobs(program)}
    assert {name: error for name, error in failures.items() if error} == {"a_1": "update 3: loss is nan"}


@pytest.mark.parametrize(("part", "names"), [("1/2", ["a_0", "a_1", "a_2"]), ("2/2", ["b_0", "b_1", "b_2"])])
def test_a_group_is_not_shared_out(part, names):
    assert [job.name for job in work.share(jobs(Program()), part)] == ["body", *names]

"""Tests of ``python -m inception_lessons train``: alone and in two processes, killed, refused, and short of room."""

import errno
import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from inception_lessons import __main__, processes, script, train, weights
from inception_lessons.processes import Share
from inception_lessons.train import Recipe

PATIENCE = 900  # seconds; these take about ten each, alone on a machine
NETWORK = ["Plain", "--set", "norm=none", "--set", "width=0.25", "--size", "8"]
STEADY = ["--set", "dropout=0.0"]  # dropout draws in each process for itself
COURSE = ["--steps", "14", "--batch-size", "16", "--lr", "0.05", "--warmup", "2", "--crop", "1", "--flip",
          "--save-every", "4", "--validate-every", "5", "--log-every", "3"]  # fmt: skip

# Trains as the command does, but kills a process with signal 9: DIE="step 6 1" in the step after six, of rank 1, or
# DIE="rename 2" when the second checkpoint is written and not yet in its place. Once, if a file DIED is named.
DEADLY = """
import os, signal, sys
from pathlib import Path
from inception_lessons import __main__, train, weights

kind, at, *rank = os.environ["DIE"].split()
step, replace, renamed = train.Run.step, os.replace, []

def die():
    died = Path(os.environ.get("DIED", os.devnull))
    if not died.is_file():
        if "DIED" in os.environ:
            died.touch()
        os.kill(os.getpid(), signal.SIGKILL)

def deadly_step(run, number, images, labels):
    if kind == "step" and number == int(at) and rank in ([], [os.environ.get("RANK")]):
        die()
    step(run, number, images, labels)

def deadly_replace(part, path):
    renamed.append(path)
    if kind == "rename" and [Path(path).stem for path in renamed].count("checkpoint") == int(at):
        die()
    replace(part, path)

train.Run.step, weights.os.replace = deadly_step, deadly_replace
sys.exit(__main__.main(["train", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 140 tiny pictures of two classes; 20 are held back for validation, which two processes share 10 and
    10 of a batch of 16, then 2 and 2; 13 for the test.
    """
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for label, name in enumerate("ab"):
        (root / name).mkdir()
        for number in range(70):
            pixels = random.integers(0, 128, (12, 12, 3), dtype=np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory, pictures):
    """The same with one picture that cannot be read, in the training split."""
    root = tmp_path_factory.mktemp("spoiled") / pictures.name
    for path in pictures.glob("*/*.png"):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        (root / path.parent.name / path.name).write_bytes(
            content[:50] if path.parent.name + path.stem == "a7" else content
        )
    assert "a/7.png" in script.data.image_folder(root, 8).train.names
    return root


def options(folder, out, *more):
    return [*NETWORK, "--data", str(folder), "--out", str(out), "--device", "cpu", *COURSE, *more]


def trained(folder, out, *more):
    """Trains in this process; -> the checkpoint's tensors, but for the seconds it took."""
    with torch.random.fork_rng(devices=[]):
        assert script.main(options(folder, out, *more)) == 0
    return kept(out)


def kept(out):
    state = load_file(out / "checkpoint.safetensors")
    return {name: value for name, value in state.items() if name != "history.seconds"}


def lines(out):
    """The log without what the clock says."""
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("images_per_second", "eta_seconds")} for line in found]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def in_process(command, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(script.__file__).parent.parent),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "",
        **environment,
    }
    environment = {name: value for name, value in environment.items() if value}
    found = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return found.returncode, found.stdout + found.stderr


def torchrun(command, count=2, restarts=0, **environment):
    """The port is the system's choice: two runs on one machine do not meet."""
    rendezvous = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    return in_process(
        [
            "-m",
            "torch.distributed.run",
            *rendezvous,
            f"--nproc-per-node={count}",
            f"--max-restarts={restarts}",
            *command,
        ],
        OMP_NUM_THREADS="1",
        **environment,
    )


needs_gloo = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


# ------------------------------------------------------------------------------------------------------ two are as one

TOGETHER = [*STEADY, "--average", "0.8", "--clip", "1.0", "--on-corrupt", "skip"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, spoiled):
    """A run of two processes, on the processor: its folder and what it said."""
    out = tmp_path_factory.mktemp("pair") / "out"
    code, said = torchrun(["-m", "inception_lessons", "train", *options(spoiled, out, *TOGETHER)])
    assert code == 0, said
    return out, said


@needs_gloo
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*left out")
def test_two_processes_of_eight_are_one_of_sixteen(pair, spoiled, tmp_path):
    """Also where one share is smaller than the other, by the picture that cannot be read."""
    out, said = pair
    one, two = trained(spoiled, tmp_path / "one", *TOGETHER), kept(out)
    assert len(one["history.loss"]) == 14 and float(one["history.loss"].std()) > 1e-3
    torch.testing.assert_close(two["history.loss"], one["history.loss"], rtol=1e-6, atol=1e-6)
    for name in one:
        if name.startswith(("model.", "averaged.", "optimizer.")):
            torch.testing.assert_close(
                two[name], one[name], rtol=1e-4, atol=1e-6, msg=lambda t, name=name: f"{name} {t}"
            )
    assert [{**line, "loss": 0} for line in lines(out) if "rate" in line] == [
        {**line, "loss": 0} for line in lines(tmp_path / "one") if "rate" in line
    ]
    assert said.count("step 14 of 14") == 1, "one process alone tells"
    assert "a/7.png cannot be read" in said


@needs_gloo
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*left out")
def test_each_validation_example_counts_once(pair, spoiled):
    model, about = weights.load(pair[0] / "weights.safetensors")
    images = script.data.image_folder(spoiled, 8, on_error="skip")
    scores = train.evaluate(model, images.validation)
    assert scores.count % 16 and scores.count == len(images.validation)
    step, loss, accuracy = kept(pair[0])["history.validation"][-1].tolist()
    assert (step, loss) == (14, pytest.approx(scores.loss, rel=1e-5)) and accuracy == pytest.approx(scores.accuracy)
    assert about["test_accuracy"] == pytest.approx(train.evaluate(model, images.test).accuracy)


@needs_gloo
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signal 9")
def test_torchrun_starts_again_from_the_last_checkpoint(pair, spoiled, tmp_path):
    driver, out = tmp_path / "deadly.py", tmp_path / "out"
    driver.write_text(DEADLY)
    code, said = torchrun(
        [str(driver), *options(spoiled, out, *TOGETHER)], restarts=1, DIE="step 6 1", DIED=str(tmp_path / "died")
    )
    assert code == 0 and (tmp_path / "died").exists() and "going on after step 4" in said, said
    assert same(kept(out), kept(pair[0])) and lines(out) == lines(pair[0])


def test_shares_of_different_sizes_are_weighed():
    """`Share.mean` without any process: what two of them would have summed."""
    share, sums = Share(0, 2), torch.zeros(2, dtype=torch.float64)

    def all_reduce(values):
        sums.add_(values)
        values.copy_(sums)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.dist, "all_reduce", all_reduce)
        share.mean(torch.tensor(4.0), 3)
        loss, weight = share.mean(torch.tensor(1.0), 1)
    assert float(loss) == pytest.approx((3 * 4 + 1) / 4) and float(weight) == pytest.approx(0.5)


def test_batch_statistics_are_synchronized_on_gpus_and_warned_of_on_processors():
    def network():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    assert isinstance(Share(0, 2, "cuda:0").prepare(network())[1], nn.SyncBatchNorm)
    with pytest.warns(UserWarning, match="each of the 2 processes normalizes by its own share"):
        model = Share(0, 2, "cpu").prepare(network())
    assert type(model[1]) is nn.BatchNorm2d
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert Share(0, 2, "cpu").prepare(plain) is plain and type(Share().prepare(network())[1]) is nn.BatchNorm2d


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(processes.dist, "init_process_group", lambda kind, **place: None)
    monkeypatch.setattr(processes.dist, "destroy_process_group", lambda: None)
    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="--batch-size 16 .* evenly among 3"):
        script.main(options(tmp_path, tmp_path))
    with pytest.raises(ValueError, match="cpu or cuda, not on 'mps'"), processes.join("mps"):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 of this machine has no GPU: there are 1"), processes.join("cuda"):
        pass


# ----------------------------------------------------------------------------------------------------------- going on


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signal 9")
def test_a_run_that_is_killed_ends_like_one_that_is_not(pictures, tmp_path):
    """Killed between two checkpoints, then while one is written; dropout, averaged weights and AdamW go on, too."""
    more = ["--optimizer", "adamw", "--lr", "0.01", "--average", "0.8"]
    driver, out = tmp_path / "deadly.py", tmp_path / "killed"
    driver.write_text(DEADLY)
    for die, step in (("step 6", 4), ("rename 2", 8)):
        code, said = in_process([str(driver), *options(pictures, out, *more)], DIE=die)
        assert code == -signal.SIGKILL, said
        assert len(kept(out)["history.loss"]) == step
    assert list(out.glob("*.part")), "the second was to die with a file half in place"
    with open(out / "log.jsonl", "a") as log:
        log.write('{"step": 7, "lo')  # a third, while it wrote a line
    ended, whole = trained(pictures, out, *more), trained(pictures, tmp_path / "whole", *more)
    assert same(ended, whole) and lines(out) == lines(tmp_path / "whole")
    assert same(*(load_file(place / "weights.safetensors") for place in (out, tmp_path / "whole")))
    assert not list(out.glob("*.part"))
    assert same(trained(pictures, out, *more), whole), "a run that has ended was gone on with"


@pytest.fixture(scope="module")
def ended(tmp_path_factory, pictures):
    """A run that has come to its end."""
    out = tmp_path_factory.mktemp("ended") / "out"
    trained(pictures, out, *STEADY)
    return out


def test_the_folder_after_a_run(ended, pictures, capsys):
    model, about = weights.load(ended / "weights.safetensors")
    assert (about["network"], about["steps"], about["classes"]) == ("Plain", 14, ["a", "b"])
    assert same(model.state_dict(), {k.removeprefix("model."): v for k, v in kept(ended).items() if k[:6] == "model."})
    losses = kept(ended)["history.loss"].tolist()
    log = [json.loads(line) for line in (ended / "log.jsonl").read_text().splitlines()]
    progress = [line for line in log if "loss" in line]
    assert [line["step"] for line in progress] == [3, 6, 9, 12, 14]
    assert progress[1]["loss"] == pytest.approx(sum(losses[3:6]) / 3)
    assert progress[1]["rate"] == Recipe(steps=14, lr=0.05, warmup=2).rate(5)
    assert progress[-1]["eta_seconds"] == 0 and all(line["images_per_second"] > 0 for line in progress)
    assert [line["step"] for line in log if "validation_loss" in line] == [5, 10, 14]
    assert __main__.main(["train", *options(pictures, ended, *STEADY, "--save-every", "3", "--workers", "0")]) == 0
    assert "going on after step 14" in capsys.readouterr().err, "who computes it and how often is no other run"


@pytest.mark.parametrize(
    "more, said",
    [
        (["--lr", "0.1"], "lr was 0.05 and is 0.1 now"),
        (["--steps", "20"], "steps was 14 and is 20 now"),
        (["--set", "width=0.5"], "set width was 0.25 and is 0.5 now"),
        (["--seed", "1", "--crop", "2"], "seed was 0 and is 1 now; crop was 1 and is 2 now"),
    ],
)
def test_other_settings_are_refused_by_name(ended, pictures, capsys, more, said):
    before = (ended / "checkpoint.safetensors").read_bytes()
    assert __main__.main(["train", *options(pictures, ended, *STEADY, *more)]) == 1
    assert f"other settings: {said}." in capsys.readouterr().err
    assert (ended / "checkpoint.safetensors").read_bytes() == before


def test_other_data_and_a_damaged_checkpoint_are_refused(ended, spoiled, pictures, tmp_path, capsys):
    arguments = options(spoiled, ended, *STEADY)
    assert __main__.main(["train", *arguments]) == 1
    assert "contents of data was" in capsys.readouterr().err
    (tmp_path / "checkpoint.safetensors").write_bytes((ended / "checkpoint.safetensors").read_bytes()[:-9])
    assert __main__.main(["train", *options(pictures, tmp_path, *STEADY)]) == 1
    assert "checkpoint.safetensors is damaged" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- what can be in the way


def test_a_corrupt_image_is_named_and_refused_or_left_out(spoiled, tmp_path, capsys):
    assert __main__.main(["train", *options(spoiled, tmp_path / "refused", *STEADY)]) == 1
    said = capsys.readouterr().err
    assert "a/7.png cannot be read as an image" in said and "--on-corrupt skip" in said and "image_folder" not in said
    with pytest.warns(UserWarning, match="a/7.png cannot be read as an image: .*; left out"):
        trained(spoiled, tmp_path / "skipped", *STEADY, "--on-corrupt", "skip")


def test_processes_with_different_data_do_not_begin(tmp_path):
    class Second(Share):
        def send(self, content):
            return json.dumps({"contents of data": "abc"}).encode()

    with pytest.raises(ValueError, match="process 0 and process 1 do not agree: contents of data: abc, abd"):
        script.Checkpoint(tmp_path, {"contents of data": "abd"}, 4, Second(1, 2))


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    log = script.Log(tmp_path, 1, Recipe(steps=2), 0)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(OSError, match="log.jsonl could not be written .*: .* MB are free in .*checkpoint is whole"):
        log(train.History(Recipe(steps=2), loss=[1.0]))


def full_disk(monkeypatch, checkpoints):
    """After so many files of checkpoints, the next write stops in the middle: no space left on the device."""
    opened, written = os.fdopen, []

    def limited(handle, mode):
        file = opened(handle, mode)
        place = os.readlink(f"/proc/self/fd/{handle}") if sys.platform == "linux" else "checkpoint"
        written.append("checkpoint" in place)
        if sum(written) <= checkpoints or not written[-1]:
            return file
        write = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, blob):
                write(blob[: len(blob) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    monkeypatch.setattr(weights.os, "fdopen", limited)


@pytest.mark.skipif(sys.platform != "linux", reason="looks a file's name up in /proc")
@pytest.mark.parametrize("checkpoints, said", [(1, "The checkpoint of step 4 is whole"), (0, "no earlier checkpoint")])
def test_a_full_disk_loses_no_earlier_checkpoint(pictures, ended, tmp_path, monkeypatch, capsys, checkpoints, said):
    with monkeypatch.context() as patch:
        full_disk(patch, checkpoints)
        assert __main__.main(["train", *options(pictures, tmp_path, *STEADY)]) == 1
    error = capsys.readouterr().err
    assert "checkpoint.safetensors could not be written (No space left on device)" in error
    assert "0.1 MB are wanted" in error and "MB are free" in error and said in error
    assert (
        sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "log.jsonl"][-1 - checkpoints :]
    )
    assert same(trained(pictures, tmp_path, *STEADY), kept(ended)), "with room again it ends as without"


@pytest.mark.parametrize("device", ["a GPU", "a processor"])
def test_too_little_memory_says_which_knob_to_turn(pictures, tmp_path, monkeypatch, capsys, device):
    def step(*arguments):
        if device == "a GPU":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
        torch.empty(2**60)

    monkeypatch.setattr(train.Run, "step", step)
    assert __main__.main(["train", *options(pictures, tmp_path, *STEADY)]) == 1
    said = capsys.readouterr().err
    for knob in ("--batch-size (now 16)", "--precision bfloat16", "--set width=... (now 0.25)", "--size (now 8)"):
        assert knob in said, said
    assert "llocate" in said and "GPU 0 has" not in said


def test_another_error_is_not_taken_for_memory(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(train.Run, "step", lambda *arguments: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        script.main(options(pictures, tmp_path))


# --------------------------------------------------------------------------------------------------------- the options


def recipe(*arguments):
    return script._recipe(script._parser().parse_args(["Plain", "--data", "digits", "--out", "x", *arguments]))


def test_every_field_of_a_recipe_is_an_option():
    assert recipe() == Recipe()
    changed = Recipe(
        steps=7, batch_size=3, optimizer="adamw", lr=0.5, momentum=0.1, weight_decay=1e-3, schedule="cosine", warmup=2,
        label_smoothing=0.2, aux_weight=0.4, precision="bfloat16", clip=3.0, average=0.5,
    )  # fmt: skip
    given = []
    for name, value in vars(changed).items():
        assert value != getattr(Recipe(), name), f"{name}: the test must change it"
        given += [f"--{name.replace('_', '-')}", str(value)]
    assert recipe(*given) == changed
    assert recipe("--recipe", "inception_v3", "--average", "none") == Recipe.inception_v3(average=None)
    with pytest.raises(ValueError, match="lr is a number above 0, not -1"):
        recipe("--lr", "-1")


def test_assignments():
    assert script._assignment("width=0.5") == ("width", 0.5) and script._assignment("stem=small") == ("stem", "small")
    assert script._assignment("blocks=(1, 2, 1)") == ("blocks", (1, 2, 1)) and script._assignment("aux=True")[1] is True
    with pytest.raises(ArgumentTypeError, match="NAME=VALUE"):
        script._assignment("width")


@pytest.mark.parametrize(
    "more, said",
    [
        (["--set", "widht=0.5"], "--set does not fit Plain: there is no argument 'widht'"),
        (["--data", "nowhere"], "one of digits, mnist, cifar10 or a folder, and there is no folder nowhere"),
        (["--data", "digits"], "--size is for folders"),
        (["--steps", "0"], "steps is a whole number of at least 1, not 0"),
        (["--batch-size", "500"], "a batch of 500 needs at least as many"),
    ],
)
def test_a_slip_gets_a_sentence(pictures, tmp_path, capsys, more, said):
    assert __main__.main(["train", *options(pictures, tmp_path, *more)]) == 1
    assert said in capsys.readouterr().err


def test_a_network_at_the_papers_size_is_built_again(tmp_path):
    settings = {"num_classes": 3, "width": 0.0625, "norm": "bn"}
    model = weights.build("GoogLeNet", settings, "paper")
    about = {"network": "GoogLeNet", "preset": "paper", "settings": settings}
    again, _ = weights.load(weights.save(tmp_path / "a.safetensors", model, about))
    assert same(again.state_dict(), model.state_dict()) and len(again.stages) > len(
        weights.build("GoogLeNet", {}).stages
    )
    with pytest.raises(ValueError, match="'laptop' or 'paper', not 'papers'"):
        weights.build("GoogLeNet", {}, "papers")
    with pytest.raises(ValueError, match="not 'GoogleNet'"):
        weights.build("GoogleNet", {})


def test_times_for_people():
    assert [script._duration(s) for s in (8.4, 89, 125, 3725)] == ["8 s", "89 s", "2 min", "1 h 2 min"]

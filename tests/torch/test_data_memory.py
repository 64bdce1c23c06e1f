from pathlib import Path

import numpy as np
import pytest

from nas.data import memory, open_data
from nas.errors import DataError


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\n"}


def test_free_memory_is_what_the_system_says(tmp_path):
    assert memory.available_bytes(system(tmp_path, MEMINFO)) == 3000 * 1024


def test_a_control_group_of_version_2_lowers_it(tmp_path):
    files = {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/memory.max": "1000000\n",
        "sys/fs/cgroup/job/memory.current": "700000\n",
        "sys/fs/cgroup/job/memory.stat": "anon 600000\ninactive_file 100000\n",
    }
    assert memory.available_bytes(system(tmp_path, MEMINFO | files)) == 400_000


def test_a_control_group_of_version_1_lowers_it(tmp_path):
    files = {
        "proc/self/cgroup": "4:memory:/job\n1:cpu:/other\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "1000000\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "700000\n",
        "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 50000\n",
    }
    assert memory.available_bytes(system(tmp_path, MEMINFO | files)) == 350_000


def test_a_container_sees_its_limit_at_the_mount(tmp_path):
    files = {
        "proc/self/cgroup": "0::/../job\n",
        "sys/fs/cgroup/memory.max": "500000\n",
        "sys/fs/cgroup/memory.current": "600000\n",
        "sys/fs/cgroup/memory.stat": "",
    }
    assert memory.available_bytes(system(tmp_path, MEMINFO | files)) == 0


def test_no_limit_is_no_limit(tmp_path):
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "5\n",
        "sys/fs/cgroup/memory.stat": "",
    }
    assert memory.available_bytes(system(tmp_path, MEMINFO | files)) == 3000 * 1024


def test_this_machine_has_some():
    free = memory.available_bytes()
    assert free is None or free > 0


@pytest.mark.parametrize(
    ("images", "resolution", "free", "remedy"),
    [
        (1_200_000, 224, 20e9, "lower --train-resolution to 64 or less"),
        (100_000_000, 32, 1e9, ": use fewer images"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_resolution_that_does(monkeypatch, images, resolution, free, remedy):
    monkeypatch.setattr(memory, "available_bytes", lambda: int(free))
    with pytest.raises(DataError, match=remedy) as caught:
        memory.require_memory(images=images, channels=3, resolution=resolution, transient_bytes=0)
    assert f"{images:,} images at {resolution}x{resolution} need" in str(caught.value)


def test_the_figures_of_the_refusal(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**10)
    with pytest.raises(DataError) as caught:
        memory.require_memory(images=100_000, channels=3, resolution=224, transient_bytes=10**9)
    assert str(caught.value) == (
        "100,000 images at 224x224 need 16.1 GB of memory, but only 8.0 GB (80% of the free memory) is available"
        " to them: lower --train-resolution to 152 or less, or use fewer images."
    )
    memory.require_memory(images=100_000, channels=3, resolution=152, transient_bytes=10**9)


def test_an_unknown_amount_is_enough(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.require_memory(images=10**12, channels=3, resolution=224, transient_bytes=0)


def test_a_given_limit_holds_however_much_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**12)
    with memory.memory_limit(2 * 10**9):
        with pytest.raises(DataError, match=r"need 3\.2 GB of memory .*but only 2\.0 GB \(--max-memory\)"):
            memory.require_memory(images=10, channels=1, resolution=8, transient_bytes=3_200_000_000)
        with pytest.raises(DataError, match=r"labels needs 2\.1 GB of memory, but only 2\.0 GB \(--max-memory\)"):
            memory.require_bytes(2_100_000_000, what="labels")
        assert memory.fits_memory(2 * 10**9)
        assert not memory.fits_memory(2 * 10**9 + 1)
        memory.require_memory(images=10, channels=1, resolution=8, transient_bytes=0)
    memory.require_memory(images=10, channels=1, resolution=8, transient_bytes=3 * 10**9)


def test_a_packed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "packed.npz"
    images = np.repeat(np.arange(3000, dtype=np.uint8) % 10, 64 * 64).reshape(3000, 64, 64)
    np.savez_compressed(path, x_train=images, y_train=np.arange(3000) % 10)
    assert path.stat().st_size < 100_000
    with memory.memory_limit(10**7), pytest.raises(DataError, match="--max-memory"):
        open_data(path).load(resolution=8, seed=0)
    assert len(open_data(path).load(resolution=8, seed=0).train) == 1920

"""Weights of a repository: what is asked of the hub, what is kept, and what is said where it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch

from teinet.errors import CheckpointError, ConfigError
from teinet.models import load_weights
from teinet.models.header import read_header, weights_file
from teinet.models.hub import HubAddress, is_hub_address
from tests import hub as hubs
from tests.conftest import environment
from tests.networks import small_recognizer

NAME, ADDRESS = "ann/waves", "hf://ann/waves"


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A recognizer's file."""
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    small_recognizer("tsm_test_resnet").save(path)
    return path.read_bytes()


@pytest.fixture
def other(tmp_path) -> bytes:
    """Another recognizer's, of half precision."""
    recognizer = small_recognizer("tsm_test_resnet")
    recognizer.header["license"] = "MIT"
    recognizer.save(tmp_path / "other.safetensors", dtype=torch.float16)
    return (tmp_path / "other.safetensors").read_bytes()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """The hub's client tries again without waiting."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def go_offline(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_the_first_use_downloads_the_next_asks_and_offline_asks_nothing(hub, content, monkeypatch):
    hub.add(NAME, content)
    assert weights_file(ADDRESS).read_bytes() == content
    path = "/ann/waves/resolve/main/model.safetensors"
    assert hub.asked() == [("HEAD", path), ("GET", path)]
    hub.requests.clear()
    model, header = load_weights(ADDRESS)
    assert hub.asked() == [("HEAD", path)] and model.num_classes == 3
    go_offline(monkeypatch)
    hub.requests.clear()
    assert read_header(ADDRESS) == header and weights_file(Path(ADDRESS)).read_bytes() == content
    assert hub.requests == []


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, content, other):
    first = hub.add(NAME, content)
    hub.repositories[NAME].refs["v1"] = first
    assert weights_file(ADDRESS).read_bytes() == content
    hub.add(NAME, other)
    assert weights_file(ADDRESS).read_bytes() == other
    assert weights_file(f"{ADDRESS}@v1").read_bytes() == content
    hub.requests.clear()
    assert weights_file(f"{ADDRESS}@{first}/model.safetensors").read_bytes() == content
    assert hub.requests == []  # what a commit holds never changes


def test_a_repository_may_have_several_files(hub, content, other):
    hub.add(NAME, content)
    hub.add(NAME, other, file="small/half.safetensors")
    assert weights_file(f"{ADDRESS}/small/half.safetensors").read_bytes() == other
    assert read_header(f"{ADDRESS}/small/half.safetensors")["license"] == "MIT"


def test_addresses():
    parsed = HubAddress.parse("hf://ann/waves@refs/pr/3/small/half.safetensors")
    assert parsed == HubAddress("ann/waves", "refs/pr/3", "small/half.safetensors")
    assert str(parsed) == "hf://ann/waves@refs/pr/3/small/half.safetensors"
    assert HubAddress.parse(Path(ADDRESS)) == HubAddress(NAME, None, "model.safetensors")
    assert str(HubAddress.parse(ADDRESS, revision="v1")) == "hf://ann/waves@v1"
    assert is_hub_address(Path(ADDRESS)) and not is_hub_address("runs/hf") and not is_hub_address("http://a/b")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("hf://waves", "an address of weights is hf://user/name"),
        ("hf://", "an address of weights is hf://user/name"),
        ("hf://datasets/ann/clips", "an address of weights is hf://user/name"),
        ("hf://ann/wa ves", "an address of weights is hf://user/name"),
        ("hf://ann/waves/pytorch_model.bin", "weights are a .safetensors file"),
        ("hf://ann/waves/small", "weights are a .safetensors file"),
        ("http://127.0.0.1/net.safetensors", "not read from addresses other than hf://user/name"),
    ],
)
def test_what_is_no_address_of_weights_is_refused_unasked(hub, address, says):
    with pytest.raises(ConfigError, match=says):
        read_header(address)
    assert hub.requests == []


def test_two_revisions_contradict_each_other():
    with pytest.raises(ConfigError, match="its revision is v1, and another one is given: v2"):
        HubAddress.parse(f"{ADDRESS}@v1", revision="v2")


def refusal(address: str = ADDRESS) -> str:
    with pytest.raises(CheckpointError) as error:
        weights_file(address)
    assert "\n" not in str(error.value) and str(error.value).startswith(address)
    return str(error.value)


def test_what_the_hub_does_not_have(hub, content, monkeypatch):
    hub.add(NAME, content)
    assert "no such repository, or a private one" in refusal("hf://ann/wave")
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
    assert "no such repository, or a private one" in refusal("hf://ann/wave")
    assert "no such revision" in refusal(f"{ADDRESS}@v9")
    assert "no such file; another one is named" in refusal(f"{ADDRESS}/best.safetensors")
    hub.add("ann/empty", b"{}", file="config.json")
    assert "no such file" in refusal("hf://ann/empty")


def test_a_file_that_is_no_recognizer_is_named_by_its_address(hub, content):
    from safetensors.torch import save

    hub.add(NAME, save({"head.weight": torch.zeros(3)}))
    assert "weights without a teinet header" in refusal()
    hub.add(NAME, content[:-7])
    assert "no safetensors file, or cut off" in refusal()
    hub.add(NAME, b"import os; os.remove('x')")
    assert "no safetensors file" in refusal()


def test_private_and_gated_repositories_need_a_token_which_is_never_printed(hub, content, monkeypatch):
    hub.add(NAME, content, private=True)
    hub.add("ann/gated", content, gated=True)
    assert "a private one, which needs a token" in refusal()
    assert "the repository is gated; ask for access" in refusal("hf://ann/gated")
    for wrong in ("hf_wrong", "hf_wrong\n"):
        monkeypatch.setenv("HF_TOKEN", wrong)
        said = refusal()
        assert "the token is missing or not valid" in said and "wrong" not in said
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
    assert weights_file(ADDRESS).read_bytes() == content
    assert "the repository is gated" in refusal("hf://ann/gated")


def test_redirects_lead_to_renamed_repositories_and_without_the_token_to_a_store(hub, content, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
    hub.add("ann/new", content)
    hub.moved[NAME] = "ann/new"
    with hubs.running() as store:
        hub.storage = store
        assert weights_file(ADDRESS).read_bytes() == content
        assert [method for method, _ in store.requests] == ["GET"] and store.tokens == [None]
    assert hubs.TOKEN in hub.tokens


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(hub, content, impatient):
    hub.add(NAME, content)
    hub.cut = 2
    assert weights_file(ADDRESS).read_bytes() == content
    assert len(hub.asked("GET")) == 3


def test_a_download_that_never_ends_leaves_nothing_in_the_cache(hub, content, impatient, tmp_path):
    hub.add(NAME, content)
    hub.cut = 1000
    assert "no connection to the hub, or it was cut" in refusal()
    assert not [path for path in (tmp_path / "hub-cache").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.cut = 0
    assert weights_file(ADDRESS).read_bytes() == content


def test_without_a_network_the_copy_serves_and_without_a_copy_it_is_said_at_once(hub, content, monkeypatch, impatient):
    hub.add(NAME, content)
    assert "local_files_only" in refused_here()
    copy = weights_file(ADDRESS)
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        nobody = getattr(huggingface_hub.constants, name).replace(hub.address, "http://127.0.0.1:9")
        monkeypatch.setattr(huggingface_hub.constants, name, nobody)
    assert weights_file(ADDRESS) == copy
    said = refusal("hf://ann/other")
    assert "not in the cache, and the hub cannot be reached" in said and "refused" in said
    go_offline(monkeypatch)
    assert weights_file(ADDRESS) == copy
    assert "not in the cache, and HF_HUB_OFFLINE or local_files_only is set" in refusal("hf://ann/other")


def refused_here() -> str:
    from teinet.models.header import hub_file

    with pytest.raises(CheckpointError) as error:
        hub_file(ADDRESS, local_files_only=True)
    return str(error.value)


def test_a_hub_that_is_out_of_order(hub, content, impatient):
    hub.add(NAME, content)
    hub.broken = 503
    assert "the hub answered 503 (Sorry); try again later. HF_HUB_OFFLINE=1" in refusal()


def test_a_header_is_read_without_torch_by_the_environments_hub(hub, content):
    hub.add(NAME, content)
    code = (
        "import sys; from teinet.cli.main import main\n"
        "code = main(['info', 'hf://ann/waves'])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and "tsm_test_resnet" in done.stdout
    hub.requests.clear()
    offline = {**environment(), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and hub.requests == []

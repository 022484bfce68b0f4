"""A model -> files and back: its configuration, its own weights, its card; and to the hub."""

from pathlib import Path

import torch
from huggingface_hub import HfApi
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.config import CONFIG, WEIGHTS, RRRAConfig
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.fingerprint import encoder_fingerprint
from rrra_haystack.pretrained import resolve_encoder

# What an encoder that sentence-transformers saved has.
MODULES = "modules.json"


def own_weights(model: nn.Module, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """
    The weights of adapter and projection by their names on disk.

    :param model: The model; its encoder, which is no module, keeps its own.
    :param dtype: Number format; as they are if `None`. A table of bytes stays what it is.
    """
    return {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        for name, tensor in model.state_dict().items()
    }


def write_model(
    path: str | Path, config: RRRAConfig, weights: dict[str, Tensor], *, encoder: Encoder | None, model_card: str
) -> None:
    """
    Write a model to a directory, in one step; a model that is there is replaced.

    :param path: The directory.
    :param config: Its configuration.
    :param weights: The weights of adapter and projection.
    :param encoder: Its encoder; `None` to leave it out.
    :param model_card: Text of its README.
    :raises FileExistsError: If something else than a model stands there.
    """
    check_place(path)
    with atomic_directory(path) as work:
        if encoder is not None:
            encoder.save(work)
        (work / "rrra").mkdir()
        (work / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        save_file(weights, work / WEIGHTS)
        (work / "README.md").write_text(model_card, encoding="utf-8")


def check_place(path: str | Path) -> None:
    """
    See that a model may be written to a directory: it is missing or empty, or a model, which is replaced.

    :param path: The directory.
    :raises FileExistsError: If something else stands there.
    """
    target = Path(path)
    if target.is_dir() and any(target.iterdir()) and not any((target / one).is_file() for one in (CONFIG, MODULES)):
        msg = f"{target} holds something else than a model, which would be lost. Choose another folder for the model."
        raise FileExistsError(msg)


def found_again(encoder: Encoder, config: RRRAConfig, path: str | Path) -> dict[str, str | None]:
    """
    What the configuration of a model that is written without its encoder says of where that is.

    :param encoder: The encoder.
    :param config: The model's configuration.
    :param path: Where the model goes.
    :returns: ``encoder`` and ``revision``.
    :raises ValueError: If its weights were changed since it was loaded, or it stands where the model goes.
    """
    found = encoder_fingerprint(encoder)
    if None not in (found, config.encoder_fingerprint) and found != config.encoder_fingerprint:
        msg = f"The weights of {encoder.name} were changed and are in no file: save the model with its encoder."
        raise ValueError(msg)
    # What came with a model has the name of the encoder that it was once made of, and may have other weights.
    origin, revision = encoder.origin
    place = config.encoder if Path(resolve_encoder(encoder.name)) == Path(origin) else origin
    # By the whole path it is found from any working directory.
    whole = str(Path(place).resolve()) if Path(place).is_dir() else place
    if whole == str(Path(path).resolve()):
        msg = f"{path} holds the encoder, which would be lost: save the model with its encoder, or to another folder."
        raise ValueError(msg)
    return {"encoder": whole, "revision": revision}


def missing(path: Path) -> str:
    """Tell that a file of a saved model is not there."""
    return f"{path} is missing. Copy or download the whole model directory again."


def load_weights(model: nn.Module, path: Path) -> None:
    """
    Give a model the weights of adapter and projection that were saved.

    :param model: The model.
    :param path: The file.
    :raises FileNotFoundError: If it is not there.
    :raises ValueError: If it is damaged or belongs to another model.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(missing(path)) from None
    except SafetensorError as error:
        msg = f"{path} is damaged ({error}). Copy or download the model again."
        raise ValueError(msg) from None
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            msg = (
                f"{path} does not fit its config.json: {name} has the shape {found.get(name)}, "
                f"expected {expected.get(name)}. The two files come from different models."
            )
            raise ValueError(msg)
    model.load_state_dict(weights)


def short_card(config: RRRAConfig, *, is_trained: bool) -> str:
    """
    The README of a model that nobody described.

    :param config: Its configuration.
    :param is_trained: Whether its adapter learned anything.
    """
    state = "a trained" if is_trained else "an untrained"
    return (
        card_head(f"RRRA model over {config.encoder}", f"A retriever with {state} adapter")
        + f"\n| setting | value |\n|---|---|\n| token codes | {config.code}, "
        f"{config.adapter.token_dim} dimensions a token |\n"
        f"| fusion weight | {config.fusion_weight:g} |\n"
        f"| lexical weight | {config.lexical_weight:g} |\n"
    )


def card_head(title: str, what: str, *, encoder: str | None = None, further: str = "") -> str:
    """
    What every README of a model begins with.

    :param title: Its title.
    :param what: What the model is, of which the first sentence says that it reranks.
    :param encoder: The encoder as the hub knows it, if it does.
    :param further: What is said of the model behind its first sentence.
    """
    base = f"base_model: {encoder}\n" if encoder else ""
    return (
        "---\nlibrary_name: rrra-haystack\npipeline_tag: text-ranking\ntags: [rrra, sentence-transformers]\n"
        f"{base}---\n\n# {title}\n\n{what} that reranks what it retrieves "
        f"(Resampling and Reranking through a Retriever Adapter, arXiv 2508.11670).{further}\n\n"
        '```python\nfrom rrra_haystack import RRRAModel\n\nmodel = RRRAModel.load("PATH")\n```\n'
    )


def upload(directory: Path, repo_id: str, *, token: str | None, private: bool | None) -> str:
    """
    Upload a model's directory to the Hugging Face hub.

    :param directory: The directory.
    :param repo_id: Name of the repository, made if it does not exist.
    :param token: Token that may write to it; the stored one if `None`.
    :param private: Whether a new repository is private.
    :returns: Address of the commit.
    """
    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repo_id, folder_path=directory, commit_message="Upload RRRA model")
    return str(commit.commit_url)

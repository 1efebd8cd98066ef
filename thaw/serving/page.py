"""The page of `make demo`: drop a picture, and see what the networks say of it.

Gradio is an extra, so it is imported where it is needed. Its own launch is not used. That reads
some twenty variables of the shell, asks other machines for the newest version and for a tunnel, and
reports to its makers. Here Gradio makes the page, and uvicorn serves it on this machine alone.
"""

import html
import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thaw.data.dataset import read_dataset
from thaw.data.decoding import PictureError, decode
from thaw.data.image_store import LARGE, open_images
from thaw.serving.answers import Witness, by_name
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.places import kind

HOST = "127.0.0.1"
FIRST_PORT, _PORTS = 7860, 100
EXAMPLES = 10
"""The most test pictures that the page offers."""
_FAMILIES = ("GRADIO_", "HF_", "HUGGINGFACE_", "SPACE", "OAUTH_", "OPENID_", "UVICORN_", "WEB_CONC")
"""Prefixes of the variables that Gradio and what it stands on read."""
_DECIDED = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""What the browser may load: nothing from another machine, whatever the page asks for."""
_CSS = """
footer { display: none !important; }
.dropped { min-height: 280px; }
.note { min-height: 6em; }
.answer { min-height: 210px; }
.refusal { padding: 0.8em 1em; border-left: 4px solid #b91c1c; background: #fef2f2; color: #7f1d1d;
           overflow-wrap: anywhere; }
"""
_WHAT = (
    "Drop a picture, and see what ResNet50 says of it before it was retrained, and after each of "
    "the three ways to retrain it."
)
_LOCAL_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")


def check_installed() -> None:
    """Raise a ThawError that says how to install Gradio, if it is missing."""
    if util.find_spec("gradio") is None:
        raise ThawError(
            "the demo needs Gradio, which is not installed. Run `make demo`: it installs what "
            "requirements-demo.lock names into .venv/demo, and starts the demo."
        )


def settle(variables: MutableMapping[str, str] = os.environ) -> None:
    """Remove or set the variables that could open the page to others or report its use.

    Call it before Gradio is imported, which reads some of them then.
    """
    for name in [name for name in variables if name.startswith(_FAMILIES) or name == "SYSTEM"]:
        del variables[name]
    variables.update(_DECIDED)


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine alone.

    Args:
        port: the port, or None for the first free one from `FIRST_PORT` on.

    Raises:
        ThawError: the port is taken, or all of them are.

    """
    wanted = range(FIRST_PORT, FIRST_PORT + _PORTS) if port is None else [port]
    for number in wanted:
        ours = socket.socket()
        # A port that a demo has just left can be used at once.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((HOST, number))
            ours.listen()
        except OSError as error:
            ours.close()
            received = str(error.strerror)
            continue
        return ours
    names = f"{wanted[0]}" if port is not None else f"{wanted[0]} to {wanted[-1]}"
    raise ThawError(
        f"port {names} of {HOST} cannot be used: {received}. Name another: "
        "`make demo PORT=8000`, or `python -m thaw.demo --port 8000`."
    )


def serve(ours: socket.socket, witnesses: list[Witness], root: Path = Path()) -> None:
    """Serve the page until Ctrl-C, which raises KeyboardInterrupt.

    Pictures that are dropped on it are kept in a temporary folder, and removed at the end.
    """
    with _scratch() as scratch:
        import uvicorn

        address = f"http://{HOST}:{ours.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                application(witnesses, save_examples(root, scratch)),
                log_level="critical",
                timeout_graceful_shutdown=1,  # an open page keeps a connection
                env_file=None,
                proxy_headers=False,
                forwarded_allow_ips="",
            )
        )
        print(f"The demo is at {address} until you press Ctrl-C.", flush=True)
        server.run(sockets=[ours])


@contextmanager
def _scratch() -> Iterator[Path]:
    with TemporaryDirectory(prefix="thaw-demo-") as name:
        os.environ["GRADIO_TEMP_DIR"] = name
        yield Path(name)


def save_examples(root: Path, folder: Path) -> list[tuple[str, str]]:
    """Write one test picture of each of the first classes to `folder`; return paths and classes.

    Without data/images there are none.
    """
    images = root / paths.IMAGES
    if not kind(images):
        return []
    dataset = read_dataset(images)
    test = open_images(images, LARGE, "test")
    saved = []
    for label, name in list(enumerate(dataset.classes))[:EXAMPLES]:
        of_class = np.flatnonzero(test.labels == label)[:1]
        if len(of_class):
            path = folder / f"{label}.png"
            Image.fromarray(test.batch(of_class)[0]).save(path)
            saved.append((str(path), name))
    return saved


def application(witnesses: list[Witness], examples: list[tuple[str, str]]) -> Any:
    """Return the page as an ASGI application, for this machine's own names only.

    The check of the name keeps a web page of elsewhere from reading this one through the browser,
    by a name that it lets point to 127.0.0.1.
    """
    import gradio
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    outer.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @outer.middleware("http")
    async def with_policy(request: Any, following: Any) -> Any:
        response = await following(request)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    font, font_mono = _LOCAL_FONTS
    return gradio.mount_gradio_app(
        outer,
        page(witnesses, examples),
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=gradio.themes.Default(font=font, font_mono=font_mono),
        css=_CSS,
    )


def page(witnesses: list[Witness], examples: list[tuple[str, str]]) -> Any:
    """Return the page as Gradio's blocks."""
    import gradio as gr

    able = [witness.answer for witness in witnesses if witness.answer]

    def answer(path: str | None) -> list[Any]:
        picture, refusal = read(path)
        said = [None if picture is None else by_name(each(picture)) for each in able]
        return [gr.HTML(refusal, visible=bool(refusal)), picture, *said]

    def answer_example(event: gr.SelectData) -> list[Any]:
        return [None, *answer(examples[event.index][0])]

    with gr.Blocks(title="thaw", analytics_enabled=False) as blocks:
        gr.Markdown(f"# thaw\n{_WHAT}")
        with gr.Row():
            dropped = gr.File(label="Picture", height=280, scale=3, elem_classes="dropped")
            shown = gr.Image(
                label="What the networks see of it",
                format="png",
                height=280,
                scale=1,
                interactive=False,
                buttons=[],
            )
        outputs = [gr.HTML(visible=False), shown]
        with gr.Row():
            for witness in witnesses:
                with gr.Column(min_width=220):
                    gr.Markdown(f"### {witness.heading}\n{witness.note}", elem_classes="note")
                    if witness.answer:
                        outputs.append(gr.Label(show_label=False, elem_classes="answer"))
        event = {
            "api_visibility": "private",  # other programs have `python -m thaw.predict`
            "show_progress": "hidden",
            "concurrency_id": "networks",  # one picture at a time
            "concurrency_limit": 1,
        }
        # Not `change`, which choosing a test picture would cause too.
        dropped.upload(answer, dropped, outputs, **event)
        dropped.clear(lambda: answer(None), None, outputs, **event)
        if examples:
            gr.Markdown("### Or choose a test picture")
            gallery = gr.Gallery(
                examples,
                show_label=False,
                columns=len(examples),
                height=150,
                allow_preview=False,
                interactive=False,
                buttons=[],
            )
            gallery.select(answer_example, None, [dropped, *outputs], **event)
    return blocks


def read(path: str | None) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the canonical pixels of a picture that was dropped, or a sentence in HTML."""
    if path is None:  # it was taken away
        return None, ""
    try:
        return decode(Path(path)), ""
    except PictureError as error:
        # Without its name: the page shows that already, and Gradio changes some letters of it.
        sentence = html.escape(f"This file {error}.")
        return None, f'<p class="refusal" role="alert">{sentence}</p>'

"""The app: a page by gradio, which nothing else imports.

A Hugging Face Space is this page, too: its ``app.py`` is the two lines

    from jaxstyle.cli.app.page import launch

    launch(host="0.0.0.0", port=7860)
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

# Before gradio is imported: it would ask its makers' server for news.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from jaxstyle.cli.app.jobs import DEFAULT, OPTIMIZE, PASS, Jobs, Request
from jaxstyle.cli.app.thumbnails import EXAMPLES, load_thumbnails

TITLE = "jaxstyle"

FONTS = ("system-ui", "sans-serif")
"""Those that are there: no page of ours loads anything from other servers."""

LAYOUT = """
#styles .grid-container { grid-template-columns: repeat(auto-fill, minmax(88px, 1fr)); }
"""
"""As many columns of styles as there is room for: gradio would have some cut off."""

BEGINNING = "Drop a photo, choose a style, and paint."

STRENGTHS = {PASS: 1.0, OPTIMIZE: DEFAULT.strength}
"""The usual strengths."""

WAITING = 20
"""The most pictures that may wait for their turn."""

LARGEST = "64mb"
"""The largest photo that the page takes."""

KEPT = (3600, 24 * 3600)
"""How often to look for files to delete, and how old they must be, in seconds."""


def launch(*, host: str, port: int | None, open_browser: bool = False) -> None:
    """Serve the page until the process is interrupted."""
    page = make_page()
    page.queue(default_concurrency_limit=1, max_size=WAITING)
    theme = gr.themes.Default(font=FONTS, font_mono=("monospace",))
    page.launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        share=False,
        show_error=True,
        ssr_mode=False,
        max_file_size=LARGEST,
        enable_monitoring=False,
        footer_links=[],
        theme=theme,
        css=LAYOUT,
    )


def make_page() -> gr.Blocks:
    """Lay out the page, and tie its controls to jobs."""
    jobs, thumbnails = Jobs(), load_thumbnails()
    names = list(thumbnails)

    # Gradio reads annotations of these, and passes what they ask for.

    def choose(event: gr.SelectData) -> tuple[str, str, None]:
        name = names[event.index]
        return name, tell_style(name), None

    def drop(painting: str | None, name: str) -> tuple[str, str]:
        if painting is None:
            return name, tell_style(name)
        return name, tell_style("the painting below")

    def adapt(way: str) -> tuple[float, Any]:
        return STRENGTHS[way], gr.Column(visible=way == OPTIMIZE)

    def paint(
        photo: str | None,
        style: str,
        painting: str | None,
        way: str,
        strength: float,
        strokes: float,
        size: int,
        steps: int,
        request: gr.Request,
    ) -> Iterator[tuple[Any, str, Any]]:
        how = (way, strength, strokes, size, steps)
        wanted = Request(str(photo), painting or style, *how)
        try:
            check_inputs(photo, painting, way)
            yield from show(jobs, wanted, str(request.session_hash))
        except ValueError as error:  # one of gradio's would hide the picture before
            gr.Warning(str(error))
            yield gr.skip(), str(error), gr.skip()

    def stop(request: gr.Request) -> None:
        jobs.stop(str(request.session_hash))

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        gr.Markdown(f"# {TITLE}\nRepaint a photo in the style of a painting.")
        style = gr.State(names[0])
        with gr.Row():
            with gr.Column():
                photo = _image("Photo", "photo")
                gr.Examples([str(x) for x in EXAMPLES], photo, label="or one of these")
                chosen = gr.Markdown(tell_style(names[0]), elem_id="chosen")
                gallery = gr.Gallery(
                    [(picture, name) for name, picture in thumbnails.items()],
                    label="Styles",
                    show_label=False,  # it would cover the first picture
                    height=300,
                    allow_preview=False,
                    elem_id="styles",
                    buttons=[],
                )
                painting = _image("or drop a painting of your own", "painting")
            with gr.Column():
                way = gr.Radio([PASS, OPTIMIZE], value=PASS, label="How", elem_id="way")
                slider = partial(gr.Slider, interactive=True)
                strength = slider(
                    0, 1, value=1.0, step=0.05, label="Strength", elem_id="strength"
                )
                strokes = slider(
                    0.5, 3, value=1.0, step=0.1, label="Stroke size", elem_id="strokes"
                )
                with gr.Column(visible=False) as more:
                    size = slider(
                        *(128, 1024),
                        value=DEFAULT.size,
                        step=32,
                        label="Longer side of an optimized picture, in pixels",
                        elem_id="size",
                    )
                    steps = slider(
                        *(10, 500),
                        value=DEFAULT.steps,
                        step=10,
                        label="Steps of an optimization",
                        elem_id="steps",
                    )
                with gr.Row():
                    begin = gr.Button("Paint", variant="primary", elem_id="paint")
                    end = gr.Button("Stop", variant="stop", elem_id="stop")
                status = gr.Markdown(BEGINNING, elem_id="said")
                picture = gr.Image(
                    label="Picture",
                    interactive=False,
                    type="filepath",
                    buttons=["fullscreen"],
                    elem_id="picture",
                )
                download = gr.DownloadButton(
                    "Download", interactive=False, elem_id="download"
                )
        gallery.select(choose, None, [style, chosen, painting])
        painting.change(drop, [painting, style], [style, chosen])
        way.change(adapt, way, [strength, more])
        begin.click(
            paint,
            [photo, style, painting, way, strength, strokes, size, steps],
            [picture, status, download],
        )
        end.click(stop, None, None, queue=False)
        page.unload(stop)
    return page


def _image(label: str, name: str) -> Any:
    """Make a place to drop a file, which is passed on as it is."""
    return gr.Image(
        label=label,
        sources=["upload", "clipboard"],
        type="filepath",
        image_mode=None,
        height=240,
        elem_id=name,
    )


def tell_style(name: str) -> str:
    """Write which style is chosen."""
    return f"Style: **{name}**. Click another one, or drop a painting below."


def check_inputs(photo: str | None, painting: str | None, way: str) -> None:
    """Raise a ValueError, which the page shows, if something is missing."""
    if photo is None:
        raise ValueError("Drop a photo first.")
    if way == OPTIMIZE and painting is None:
        raise ValueError(
            "To optimize, drop a painting: of the styles to click only a description "
            "is there, which suffices for one pass."
        )


def show(jobs: Jobs, wanted: Request, session: str) -> Iterator[tuple[Any, str, Any]]:
    """Paint; yield the picture, a line about it, and the button that saves it.

    A ValueError says what failed.
    """
    shown = None
    for made, line in jobs.run(wanted, session):
        if made is None or made == shown:
            yield gr.skip(), line, gr.skip()
            continue
        shown = made
        yield str(made), line, gr.DownloadButton(value=str(made), interactive=True)

"""``jaxstyle app``: serve the page until Ctrl-C."""

from jaxstyle.cli.commands import AppOptions


def run(arguments: AppOptions) -> int:
    """Serve the page; a ValueError says if gradio is not installed."""
    try:
        from jaxstyle.cli.app.page import launch
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        raise ValueError("the app needs gradio: pip install 'jaxstyle[app]'") from error
    launch(host=arguments.host, port=arguments.port, open_browser=arguments.open)
    return 0

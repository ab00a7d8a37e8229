"""``jaxstyle weights``: fetch a VGG network that does not ship in the package."""

import argparse

from jaxstyle.files.published_vgg import download_vgg


def run(arguments: argparse.Namespace) -> int:
    """Download, check and convert a network; return the exit code."""
    path = download_vgg(arguments.network, url=arguments.url)
    print(f"{arguments.network} is ready: {path}")
    return 0

"""Train the decoder that turns features of VGG-16 back into pictures.

    python scripts/train_decoder.py --photos FOLDER --out runs/decoder --steps 16000
    python scripts/train_decoder.py --photos FOLDER --out runs/decoder --stage chain \
        --steps 2000

It learns from photographs alone, so that it serves every painting. The first stage
starts from a closed form and trains each of the five blocks on VGG's own features; the
second one trains all of them as a chain, down to pixels.

It may be ended at any time, and goes on exactly when it is started by the same command
again. `jaxstyle.cli.train.decoder_run` says what the folder gets.
"""

import sys

from jaxstyle.cli.train.decoder_command import main

if __name__ == "__main__":
    sys.exit(main())

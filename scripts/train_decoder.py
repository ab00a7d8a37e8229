"""Train the decoder that turns features of VGG-16 back into pictures.

    python scripts/train_decoder.py --photos FOLDER --paintings FOLDER --out FOLDER

It starts from a closed form. Then photographs are painted like paintings, level by
level, and all blocks learn to reach what each level aims at. Paintings serve as
examples of distributions: the decoder works for every other one.

It may be ended at any time, and goes on exactly when it is started by the same command
again. `jaxstyle.cli.train.decoder_run` says what the folder gets.
"""

import sys

from jaxstyle.cli.train.decoder_command import main

if __name__ == "__main__":
    sys.exit(main())

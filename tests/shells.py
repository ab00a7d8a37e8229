"""What bash, zsh and fish offer for the last word of each of some lines."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

BASH = """
eval "$(<$1)"
for line in "${@:2}"; do
  IFS=' '
  COMP_WORDS=($line) COMP_CWORD=${#COMP_WORDS[@]}
  [[ $line == *' ' ]] && COMP_WORDS+=('') || COMP_CWORD=$((COMP_CWORD - 1))
  IFS=$' \\t\\n'
  _shtab_jaxstyle
  printf '%s\\n' "${COMPREPLY[@]}" --
done
"""

ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "
autoload -Uz compinit; compinit -u -D
eval \"\$(<$1)\"
compadd() {
  if [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
    builtin compadd -O found \"\$@\"
    print -rl -- \$found >>$2
  fi
  builtin compadd \"\$@\"
}
zle -C offer complete-word _main_complete
probe() { zle offer; print -- -- >>$2; BUFFER= }
zle -N probe; bindkey '^I' probe"
for line in "${@[3,-1]}"; do zpty -w -n shell "$line"$'\t'; done
zpty -w shell exit
while zpty -r shell line; do :; done
"""
"""On a terminal, as only shells on one complete; what they add is written to a file."""

FISH = """
source $argv[1]
for line in $argv[2..]; complete -C "$line" | string split -f 1 \\t; echo -- --; end
"""


def in_bash(script: Path, lines: Sequence[str]) -> str:
    """Return what bash offers, a line each, and ``--`` after that for each line."""
    return run("bash", "-c", BASH, "bash", str(script), *lines)


def in_zsh(script: Path, lines: Sequence[str]) -> str:
    """Return what zsh offers, in the same form."""
    found = script.with_suffix(".found")
    run("zsh", "-f", "-c", ZSH, "zsh", str(script), str(found), *lines)
    return found.read_text()


def in_fish(script: Path, lines: Sequence[str]) -> str:
    """Return what fish offers, in the same form."""
    return run("fish", "--no-config", "-c", FISH, str(script), *lines)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


SHELLS: Mapping[str, Callable[[Path, Sequence[str]], str]] = {
    "bash": in_bash,
    "zsh": in_zsh,
    "fish": in_fish,
}


def offer(shell: str, script: Path, lines: Sequence[str]) -> list[set[str]]:
    """Return the words that a shell offers for the last word of each line."""
    *found, rest = SHELLS[shell](script, lines).split("--\n")
    assert (len(found), rest) == (len(lines), "")
    return [set(words.split()) for words in found]

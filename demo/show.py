"""How the demo looks: headings, explanations, commands and what they answered."""

import os
import shlex
import shutil
import sys
import textwrap

WIDTH = min(shutil.get_terminal_size((88, 24)).columns, 100)
COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURED else text


def bold(text):
    return paint("1", text)


def dim(text):
    return paint("2", text)


def green(text):
    return paint("1;32", text)


def red(text):
    return paint("1;31", text)


def heading(number, title):
    print(f"\n{bold(f' {number} ')} {bold(title)}\n{dim('─' * WIDTH)}", flush=True)


def explain(text):
    """A paragraph for the reader."""
    print(textwrap.fill(" ".join(text.split()), WIDTH), flush=True)


def code(text):
    """Lines of a file or program, set off."""
    for line in textwrap.dedent(text).strip().splitlines():
        print(dim("  │ ") + line, flush=True)


def command(arguments):
    """What somebody would type."""
    print(f"  {dim('$')} {shlex.join(map(str, arguments))}", flush=True)


def answer(text):
    for line in text.rstrip().splitlines():
        print(f"  {line}", flush=True)

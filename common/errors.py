"""The errors a user can act on."""


class LocalblurError(Exception):
    """A failure the user can act on.

    The message is one line that names the value, the limit and the remedy. Commands print it and exit with 1;
    `--debug` shows the traceback instead.
    """

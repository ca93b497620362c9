"""The one error of reading a run folder."""


class RunFolderError(ValueError):
    """A folder or file that is not what a run writes; the message says which, and the way out."""

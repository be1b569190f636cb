"""Files that the job leaves."""

import os
from typing import Optional, Union

from ._calls import call


def upload(path: Union[str, "os.PathLike[str]"], name: Optional[str] = None) -> str:
    """Leaves a file with the server; its SHA-256. It is called `name`, else as the file is.

    What is in it isn't redacted: whoever may read the job may read the file.
    """
    arguments = ["artifact", "upload"]
    if name is not None:
        arguments += ["--name", name]
    return str(call([*arguments, "--", os.fspath(path)])["sha256"])

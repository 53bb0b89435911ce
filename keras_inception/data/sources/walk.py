"""The walk through folders, one for every command: which files may be images, and which are not.

Whether a file is an image shows when it is decoded. What is left out before is what no person put
there as an image, and it is counted by the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# What systems leave in folders, in small letters, besides hidden files such as .DS_Store, ._1.jpg,
# .Trash-1000 and .thumbnails.
_SYSTEMS = frozenset(
    name.encode()
    for names in (
        # Mac
        ["__macosx", "icon\r", "network trash folder", "temporary items"],
        # Windows
        ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"],
        ["$recycle.bin", "recycler", "system volume information", "found.000"],
        # Synology, QNAP and other network storage
        ["@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "@__thumb"],
        ["@tmp", "@sharebin", "@transcode"],
        # Viewers' thumbnails
        ["zbthumbnail.info", "pspbrwse.jbf"],
        # Linux
        ["lost+found"],
    )
    for name in names
)
# Suffixes of what lies beside photos and is no image: films, sound, notes, sidecars, archives,
# downloads that were not finished.
_OTHER_KINDS = frozenset(
    b"mp4 mov m4v avi mkv webm 3gp mpg mpeg mts m2ts wmv"
    b" mp3 m4a wav aac ogg"
    b" txt md csv tsv json xml xmp aae thm yaml yml html htm log ini db lnk url"
    b" doc docx xls xlsx ppt pptx rtf py ipynb"
    b" zip rar 7z tar gz tgz npy npz pkl mat h5 part crdownload tmp".split()
)

HIDDEN = "hidden"
SYSTEM = "left there by a system"
OTHER_KIND = "of other kinds by their names"
SEEN = "linked to a folder seen already"
BROKEN = "linked to nothing"
UNREADABLE = "not to be opened"
SPECIAL = "neither file nor folder"


class Walk:
    """A walk through the folders below one, with what it left out.

    Linked folders are followed, each folder once in a class and none that the walk is within.

    Args:
        root: the folder.

    Attributes:
        left_out: for each reason how many files and folders, and the first, as text.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = os.fsencode(root)
        self.left_out: dict[str, tuple[int, str]] = {}
        self._around = {_identity(folder) for folder in _with_parents(os.path.realpath(self.root))}

    def children(self) -> tuple[list[bytes], list[bytes]]:
        """The names of the folders and of the files in the root itself, each in order."""
        folders, links, files = self._list(b"")
        return sorted(folders + links), sorted(files)

    def files(self, folder: bytes = b"") -> list[bytes]:
        """The files below a folder of the root, or the root; relative to it, in order."""
        found: list[bytes] = []
        seen = set(self._around)
        folders = [folder]
        links: list[bytes] = []
        if folder:
            identity = self._unseen(folder, seen)
            if identity is None:
                return []
            seen.add(identity)
        # Links last, so that a folder that is there itself is listed by its own name.
        while folders or links:
            if folders:
                inner = folders.pop()
            else:
                inner = links.pop()
                identity = self._unseen(inner, seen)
                if identity is None:
                    continue
                seen.add(identity)
            own, linked, files = self._list(inner)
            found += files
            for each in own:
                seen.add(_identity(os.path.join(self.root, each)))
            folders += own
            links = sorted(links + linked, reverse=True)
        return sorted(found)

    def note(self) -> str:
        """What was left out, in a line; ``""`` if nothing was."""
        reasons = [
            f"{count} {reason} (such as {first})"
            for reason, (count, first) in self.left_out.items()
        ]
        return f"Left out: {'; '.join(reasons)}." if reasons else ""

    def _list(self, folder: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """The folders, linked folders and files in one folder, relative to the root."""
        folders, links, files = [], [], []
        before = folder + b"/" if folder else b""
        try:
            entries = os.scandir(os.path.join(self.root, folder))
        except PermissionError:
            self._leave_out(UNREADABLE, folder)
            return [], [], []
        with entries:
            for entry in entries:
                name = entry.name
                if name.startswith(b"."):
                    self._leave_out(HIDDEN, before + name)
                elif name.lower() in _SYSTEMS:
                    self._leave_out(SYSTEM, before + name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(before + name)
                elif _is(entry.is_dir):
                    links.append(before + name)
                elif not _is(entry.is_file):
                    self._leave_out(BROKEN if entry.is_symlink() else SPECIAL, before + name)
                elif b"." in name and name.rpartition(b".")[2].lower() in _OTHER_KINDS:
                    self._leave_out(OTHER_KIND, before + name)
                else:
                    files.append(before + name)
        return folders, links, files

    def _unseen(self, folder: bytes, seen: set[tuple[int, int]]) -> tuple[int, int] | None:
        identity = _identity(os.path.join(self.root, folder))
        if identity in seen:
            self._leave_out(SEEN, folder)
            return None
        return identity

    def _leave_out(self, reason: str, name: bytes) -> None:
        count, first = self.left_out.get(reason, (0, ""))
        self.left_out[reason] = (count + 1, first or os.fsdecode(name))


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; nothing is what a link to itself leads to."""
    try:
        return kind()
    except OSError:
        return False


def _identity(folder: bytes) -> tuple[int, int]:
    """What is equal for one folder by whatever name."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _with_parents(folder: bytes) -> Iterator[bytes]:
    yield folder
    while (parent := os.path.dirname(folder)) != folder:
        yield (folder := parent)

"""The walk through folders, one for every command: which files may be images, and which are not.

Whether a file is an image shows when it is decoded. What is left out before is what no person put
there as an image, and it is counted by the reason.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from inception_serving.formats import is_image

# What systems and tools leave in folders, in small letters, besides hidden files such as
# .DS_Store, ._1.jpg, .Trash-1000 and .thumbnails. Compare the lists of what others leave alone:
# Nextcloud's sync-exclude.lst, github.com/github/gitignore's Global.
_TOOLS = frozenset(
    name.encode()
    for names in (
        # Mac, also as Samba shows its names
        ["__macosx", "icon\r", "icon\uf00d", "network trash folder", "temporary items"],
        ["thevolumesettingsfolder", "thefindbycontentfolder", "cleanup at startup"],
        ["desktop db", "desktop df", "resource.frk", "finder.dat"],
        # Windows
        ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "albumartsmall.jpg"],
        ["$recycle.bin", "recycler", "system volume information"],
        ["msocache", "$extend", "wpsettings.dat", "indexervolumeguid"],
        # Synology, QNAP, NetApp and other network storage
        ["@eadir", "@synoeastream", "@synoresource", "#recycle", "#snapshot", "@tmp"],
        ["@recycle", "@recently-snapshot", "@__thumb", "@sharebin", "@transcode"],
        ["~snapshot"],
        # Viewers' thumbnails and settings
        ["picasa.ini", "photothumb.db", "zbthumbnail.info", "pspbrwse.jbf"],
        ["captureone", "nksc_param"],
        # Linux, Android
        ["lost+found", "lost.dir"],
        # Programmers'
        ["__pycache__", "node_modules"],
    )
    for name in names
)
# What they leave beside a file, under its name: streams of NTFS and of Macs as other systems and
# Synology keep them (`1.jpg:Zone.Identifier`), copies of editors and of ExifTool
# (`1.jpg_original`), what an office has open.
_BESIDE = re.compile(
    rb".*(:|\xef\x80\xba|\.)zone\.identifier(:\$data)?"  # U+F03A is Samba's colon
    rb"|.+(:|\xef\x80\xba)(smartscreen|encryptable|afp_\w+|com\.\w+\..*)"
    rb"|.+@syno(eastream|resource)|.+~|~\$.+|.+\.\w+_original|found\.\d{3}",
    re.DOTALL,
)
# Suffixes of what lies beside photos and is no image: films, sound, notes, sidecars, archives,
# programs, models, downloads that were not finished.
_OTHER_KINDS = frozenset(
    b"mp4 mov m4v avi mkv webm 3gp 3g2 mpg mpeg mts m2ts wmv flv vob ogv asf mxf mp lrv insv"
    b" mp3 m4a wav aac ogg flac wma amr opus aif aiff srt vtt"
    b" txt md csv tsv json jsonl xml yaml yml toml ini cfg log html htm js css"
    b" doc docx xls xlsx ppt pptx rtf odt ods odp epub pages numbers key"
    b" xmp aae thm pp3 dop cos cop cot on1 nksc arp lrcat lrdata gpx kml plist textclipping"
    b" url webloc lnk desktop directory torrent"
    b" py pyc ipynb sh bat ps1 exe dll so"
    b" zip rar 7z tar gz tgz bz2 xz zst dmg iso"
    b" npy npz pkl pickle mat h5 hdf5 keras pb pt pth onnx tflite safetensors parquet tfrecord"
    b" names cache db sqlite sqlite3 dvc md5 sha1 sha256 sig asc lock swp bak orig !sync"
    b" part partial crdownload download filepart aria2 tmp".split()
)
# Files that go with downloads and programs and have no suffix.
_NOTES = frozenset(
    b"readme license licence copying notice authors changelog citation manifest version"
    b" makefile dockerfile md5sums sha1sums sha256sums".split()
)

_IMAGES = frozenset(
    b"jpg jpeg jpe jfif png apng gif bmp dib webp heic heif hif avif tif tiff jxl jp2 j2k svg svgz"
    b" ico psd pdf ppm pgm pbm pnm tga cr2 cr3 nef arw dng orf raf rw2 pef srw".split()
)

HIDDEN = "hidden"
TOOL = "left there by a system or a tool"
OTHER_KIND = "of other kinds by their names"
SEEN = "linked to a folder seen already"
BROKEN = "linked to nothing"
CIRCLE = "linked in a circle"
UNREADABLE = "not to be opened"
SPECIAL = "neither file nor folder"
_FOLDER, _LINK, _FILE = "folder", "linked folder", "file"


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

    def may_be_image(self, name: bytes) -> bool:
        """Whether a file has the suffix of an image, or begins as one."""
        if b"." in name and name.rpartition(b".")[2].lower() in _IMAGES:
            return True
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                return is_image(file.read(512))
        except OSError:
            return True  # as far as anyone can see

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
                kind = _kind(entry)
                if kind == _FOLDER:
                    folders.append(before + name)
                elif kind == _LINK:
                    links.append(before + name)
                elif kind == _FILE:
                    files.append(before + name)
                else:
                    self._leave_out(kind, before + name)
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


def _kind(entry: os.DirEntry[bytes]) -> str:
    """Whether it is a folder, linked or not, or a file; or else the reason to leave it out."""
    name = entry.name.lower()
    if name.startswith(b"."):
        return HIDDEN
    if name in _TOOLS or _BESIDE.fullmatch(name):
        return TOOL
    if entry.is_dir(follow_symlinks=False):
        return _FOLDER
    if not entry.is_file(follow_symlinks=False):
        if not entry.is_symlink():
            return SPECIAL
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            return {errno.ELOOP: CIRCLE, errno.EACCES: UNREADABLE}.get(error.errno or 0, BROKEN)
        if stat.S_ISDIR(mode):
            return _LINK
        if not stat.S_ISREG(mode):
            return SPECIAL
    suffix = name.rpartition(b".")[2]  # of a name without one, the name
    others = _OTHER_KINDS if b"." in name else _NOTES
    return OTHER_KIND if suffix in others else _FILE


def _identity(folder: bytes) -> tuple[int, int]:
    """What is equal for one folder by whatever name."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _with_parents(folder: bytes) -> Iterator[bytes]:
    yield folder
    while (parent := os.path.dirname(folder)) != folder:
        yield (folder := parent)

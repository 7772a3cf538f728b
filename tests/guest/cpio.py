# SPDX-License-Identifier: MIT
"""An initial RAM disk: a cpio archive in the "newc" form
(Documentation/driver-api/early-userspace/buffer-format.rst)."""
import os
import stat

# Merged /usr, as on today's systems: what a program calls /lib64/ld-linux-x86-64.so.2 is stored below /usr.
MERGED = ('bin', 'sbin', 'lib', 'lib64')


def guest_path(path):
    parts = os.path.abspath(path).lstrip('/').split('/')
    return '/'.join(['usr'] * (parts[0] in MERGED and len(parts) > 1) + parts)


class Archive:
    """Entries by path; what was added first stays."""

    def __init__(self):
        self.entries = {}
        for name in MERGED:
            self.entries[name] = (stat.S_IFLNK | 0o777, f'usr/{name}'.encode())

    def add(self, path, mode, data):
        path = guest_path(path)
        where = os.path.dirname(path)
        if where and where not in self.entries:
            self.folder('/' + where)
        self.entries.setdefault(path, (mode, data))

    def folder(self, path):
        self.add(path, stat.S_IFDIR | 0o755, b'')

    def link(self, path, target):
        self.add(path, stat.S_IFLNK | 0o777, target.encode())

    def text(self, path, text, mode):
        self.add(path, stat.S_IFREG | mode, text.encode())

    def file(self, path, source):
        """A file of this machine, whatever links lead to it."""
        if guest_path(path) not in self.entries:
            with open(source, 'rb') as f:
                self.add(path, stat.S_IFREG | (os.fstat(f.fileno()).st_mode & 0o777), f.read())

    def bytes(self):
        out = bytearray()
        everything = list(self.entries.items()) + [('TRAILER!!!', (0, b''))]
        for number, (path, (mode, data)) in enumerate(everything, 1):
            name = path.encode() + b'\0'
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
            out += b'070701' + b''.join(b'%08X' % field for field in fields) + name
            out += bytes(-len(out) % 4) + data
            out += bytes(-len(out) % 4)
        return bytes(out)

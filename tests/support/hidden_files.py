"""What macOS, Windows and Synology leave in folders of data."""

APPLE_DOUBLE = b"\0\5\x16\7" + bytes(100)


def sprinkle(root):
    """Puts `._name` beside every file and folder, and the systems' own files into every folder."""
    for path in list(root.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(APPLE_DOUBLE)
        for name in ("@eaDir", "__MACOSX"):
            (folder / name).mkdir()
            (folder / name / "._000001.jpg").write_bytes(APPLE_DOUBLE)

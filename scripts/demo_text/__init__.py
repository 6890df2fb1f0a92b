"""The demo bank: its authored text, and the modules that assemble the files of data/demo from it."""

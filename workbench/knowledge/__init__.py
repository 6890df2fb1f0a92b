"""Knowledge entries, their versions, and the corpus commits that make them live."""

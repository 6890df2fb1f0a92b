"""Files of other tools, each turned into the same decoded spans, in the attributes that the tool itself speaks."""

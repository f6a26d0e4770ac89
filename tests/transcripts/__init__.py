"""Golden transcripts: stories of what the real machines say to each other, worth reading.

`scripts` sets the scenes; the text files beside it are what came of it. When a story changes, the
diff is reviewed like code: `python -m tests.transcripts --update` writes the files anew.
"""

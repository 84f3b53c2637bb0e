"""What the reader sees: HTML report, Markdown card and CSV, made from rows and pictures only. Torch-free."""

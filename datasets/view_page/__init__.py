"""The curation page: HTML, style and scripts as the browser gets them."""

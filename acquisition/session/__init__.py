"""One run of `capture`: what is asked, what will be done, with which cameras."""

"""What a dataset adds to the words: examples, regions and presence. All of it is optional and off by default."""

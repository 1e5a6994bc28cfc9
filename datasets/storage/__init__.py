"""The pairs file: its schema, reader, writer, masks, edits and copies."""

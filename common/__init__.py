"""What every command needs and no folder owns: errors, settings, files, parallel work, command plumbing."""

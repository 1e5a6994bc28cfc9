"""Training recipes, one YAML file each; read them with `localblur.training.config`."""

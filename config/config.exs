import Config

# Defaults of this checkout only: a project that depends on k8s_connect writes its own
# `config :k8s_connect`, which is read at run time.

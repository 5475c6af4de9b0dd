# Plain `mix test` is the fast part. The rest needs a world of its own, which script/test makes:
#
#   :project  whole Mix projects that depend on us are built and run
#   :cluster  runs on the laptop of the test cluster, as an ordinary user
#   :kernel   on the laptop too, with the helper, and as its admin
#   :host     starts and kills clusters, as root
ExUnit.start(exclude: [:project, :cluster, :kernel, :host])

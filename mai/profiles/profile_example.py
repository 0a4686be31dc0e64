"""An annotated profiles.toml, for `mai-image init` and the documentation."""

from __future__ import annotations

EXAMPLE = """\
# Where MAI Image calls, and as whom. A workflow names a profile and nothing else.
# The first profile here is "default", unless one has that name. Changes are taken up at once.
# Remove the # before a line to use it.

[profiles.work]
service = "foundry"                       # or "pixazo"
endpoint = "https://my-resource.services.ai.azure.com"

# One of these says who calls:
credential = { kind = "key_env", name = "AZURE_API_KEY" }       # a key, in this variable
# credential = { kind = "key_file", path = "/run/secrets/mai" } # a key, alone in this file
# credential = { kind = "key", value = "..." }                  # a key, here: keep the file private
# credential = { kind = "entra" }                               # Entra ID, whatever is there
# credential = { kind = "entra", method = "managed_identity", client_id = "..." }
# credential = { kind = "entra", method = "azure_cli", tenant_id = "..." }
# credential = { kind = "entra", method = "environment" }       # AZURE_CLIENT_ID, _SECRET, ...
# credential = { kind = "entra", method = "device_code" }       # for the command line only

# header = "Ocp-Apim-Subscription-Key"    # the key's header, where a gateway wants another
# tier = 1                                # Foundry's quota tier, 1 to 6, or a number of your own:
# requests_a_minute = 2
# timeout = 300                           # seconds for a whole call
# connect_timeout = 10                    # seconds to reach the service
# shutdown_grace = 20                     # seconds to wait for paid images at the end
# keep_prompts = true                     # keep prompts beside the images in the store

# [profiles.work.deployments]             # where deployments aren't named like their models
# "MAI-Image-2.6" = "my-deployment"
# "MAI-Image-2.5" = ["east", "west"]      # several share the load
# "*" = "any-model"                       # for every other model

# [profiles.work.budget]                  # USD; a call that would pass it isn't sent
# day = 5.00
# month = 50.00

# [profiles.pixazo]
# service = "pixazo"
# credential = { kind = "key_env", name = "PIXAZO_API_KEY" }
# timeout = 600                           # seconds; a job that takes longer is taken up again
# media_hosts = ["media.example.com"]     # where its images lie, if not on *.pixazo.ai

# [store]
# limit_gb = 10                           # the oldest images go when it is full

# [page]                                  # the sidebar tab "MAI": money and last images
# allow_remote = true                     # show it to the network too, if ComfyUI listens there
# show_prompts = true                     # and prompts, which else only this machine sees
"""
